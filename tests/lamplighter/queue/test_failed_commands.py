"""queue:failed, queue:retry, queue:forget and queue:flush, through an application of their own."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import text

from lamplighter.contracts import Config, Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.database.provider import DatabaseServiceProvider
from lamplighter.errors import BrokerUnavailable, QueueError, Unavailable
from lamplighter.foundation.application import Application
from lamplighter.queue.commands import retry
from lamplighter.queue.commands.make_failed_table import TEMPLATE
from lamplighter.queue.dispatching.elsewhere import tell_of_process
from lamplighter.queue.failed import FailedJob, FailedJobs, FailedRecord, Failure
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.provider import QueueServiceProvider

ROOT = Path(__file__).parents[3]
Artisan = Callable[..., int]
Screen = pytest.CaptureFixture[str]

DATABASE = """
config = {"default": "main", "connections": {"main": {"driver": "sqlite", "database": "main.sqlite"}}}
"""
QUEUE = """
config = {"default": "box", "connections": {"box": {"driver": "box"}}, "failed": {"driver": "database-uuids"}}
"""
PAYLOAD = b'{"displayName":"job.data.store","job":"job.data.store","attempts":3,"data":{"attempts":7}}'
AGAIN = b'{"displayName":"job.data.store","job":"job.data.store","attempts":0,"data":{"attempts":7}}'


class Box(KeepsNoJobs):
    """A queue that shows what was pushed, or is away."""

    connection = "box"
    default_queue = "store"

    def __init__(self) -> None:
        self.pushed: list[tuple[str, Message]] = []
        self.is_away = False
        self.work: Callable[[int], object] = lambda number: None  # what a worker does with the pushed job at once

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Keep it."""
        if self.is_away:
            raise BrokerUnavailable("box:9092 did not answer")
        self.pushed.append((queue, message))
        self.work(len(self.pushed))

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Keep them all."""
        before = len(self.pushed)
        for message in messages:
            self.push(message, queue=queue)
        return len(self.pushed) - before


@pytest.fixture
def box() -> Box:
    """The queue that jobs came from."""
    return Box()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: Box) -> Iterator[Application]:
    """An application whose only queue is the box."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/database.py").write_text(DATABASE)
    (tmp_path / "config/queue.py").write_text(QUEUE)
    app = Application(tmp_path, providers=[DatabaseServiceProvider, QueueServiceProvider]).bootstrap()
    app.make(QueueManager).extend("box", lambda name, options: box)
    yield app
    app.make(DatabaseManager).dispose()


@pytest.fixture
def failed_jobs(app: Application) -> FailedJobs:
    """The application's store, with its table."""
    Migrator(app.make(DatabaseManager).engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    found: FailedJobs = app.make(FailedJobs)
    return found


@pytest.fixture
def artisan(app: Application) -> Artisan:
    """Runs a command; its exit code."""
    return lambda *argv: app.run(argv)


def keep(failed_jobs: FailedJobs, id: str, **fields: Any) -> None:
    """Record a failed job."""
    given: dict[str, Any] = {
        "connection": "box",
        "queue": "store",
        "payload": PAYLOAD,
        "error": RuntimeError("boom"),
        "uuid": id,
        "key": b"k\xff",
        "headers": [("trace", b"\x00"), ("none", None)],
        "origin": f"store[0]@{len(id)}",
        "timestamp_ms": 5,
    }
    failed_jobs.record(Failure(**{**given, **fields}))


def test_failed_jobs_are_listed_the_newest_first(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a")
    keep(failed_jobs, "b", payload=b"\xff")

    assert artisan("queue:failed") == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert [(words[2], words[4:]) for words in lines[::2]] == [
        ("b", ["box@store", "unreadable", "payload"]),
        ("a", ["box@store", "job.data.store"]),
    ]
    assert lines[1::2] == [["RuntimeError:", "boom"]] * 2


def test_a_list_for_programs_is_json(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a")

    artisan("queue:failed", "--json")

    [job] = json.loads(capsys.readouterr().out)["failed_jobs"]
    assert list(job) == ["id", "connection", "queue", "class", "failed_at", "reason"]
    assert (job["id"], job["class"], job["reason"]) == ("a", "job.data.store", "RuntimeError: boom")


def test_the_trace_is_shown_when_asked_for(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a")

    artisan("queue:failed", "-v")

    assert "RuntimeError: boom" in capsys.readouterr().out


def test_a_name_from_the_wire_can_not_steer_the_terminal(
    failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen
) -> None:
    keep(failed_jobs, "a", payload=json.dumps({"job": "x\x1b[2J\n" + "y" * 5000}).encode())

    artisan("queue:failed")

    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert len(shown) < 500


def test_json_can_not_steer_the_terminal_either(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a", queue="q\x9b2J\u202e\n\x1b[2J")

    artisan("queue:failed", "--json")

    shown = capsys.readouterr().out
    assert not {"\x9b", "\u202e", "\x1b"} & {*shown}
    assert json.loads(shown)["failed_jobs"][0]["queue"] == "q\x9b2J\u202e\n\x1b[2J"


def test_no_failed_jobs(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    codes = [artisan("queue:failed"), artisan("queue:retry", "all"), artisan("queue:retry")]

    assert codes == [0, 0, 0]
    assert [line.strip() for line in capsys.readouterr().out.splitlines() if line] == [
        "INFO  No failed jobs found.",
        "INFO  No retryable jobs found.",
        "INFO  No retryable jobs found.",
    ]


def test_a_retry_pushes_the_same_message_and_forgets_its_record(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box
) -> None:
    keep(failed_jobs, "a")
    keep(failed_jobs, "b")

    code = artisan("queue:retry", "a", "a")

    assert code == 0
    assert box.pushed == [("store", Message(AGAIN, b"k\xff", [("trace", b"\x00"), ("none", None)]))]
    assert failed_jobs.ids() == ["b"]


def test_all_are_retried_the_garbage_with_its_bytes(failed_jobs: FailedJobs, artisan: Artisan, box: Box) -> None:
    keep(failed_jobs, "a", payload=b"\xff\x00", key=None, headers=(), queue="other")
    keep(failed_jobs, "b")

    code = artisan("queue:retry", "all")

    assert (code, failed_jobs.ids()) == (0, [])
    assert box.pushed[1] == ("other", Message(b"\xff\x00", None, ()))


def test_what_can_not_be_pushed_is_kept(failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen) -> None:
    keep(failed_jobs, "a")
    box.is_away = True

    code = artisan("queue:retry", "a")

    assert (code, failed_jobs.ids()) == (1, ["a"])
    assert "box:9092 did not answer" in capsys.readouterr().err


def test_a_connection_that_is_gone_stops_no_other_job(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen
) -> None:
    keep(failed_jobs, "a")
    keep(failed_jobs, "b", connection="beanstalkd")

    code = artisan("queue:retry", "all")

    assert (code, failed_jobs.ids(), len(box.pushed)) == (1, ["b"], 1)
    assert "no connection 'beanstalkd'" in capsys.readouterr().err


def test_a_record_that_can_not_be_deleted_stops_no_other_job(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(failed_jobs, "a")
    keep(failed_jobs, "b")

    def refuse(records: Sequence[FailedRecord]) -> int:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(failed_jobs, "forget", refuse)

    code = artisan("queue:retry", "a", "b")

    assert (code, len(box.pushed)) == (1, 2)
    assert "`python artisan.py queue:forget a b`" in capsys.readouterr().err


def test_a_job_that_fails_again_at_once_keeps_its_new_record(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box
) -> None:
    keep(failed_jobs, "a", origin="store[0]@1")
    keep(failed_jobs, "b", origin="store[0]@2")
    box.work = lambda number: keep(failed_jobs, "ba"[number - 1], payload=AGAIN, origin=f"store[0]@{number + 2}")

    code = artisan("queue:retry", "all")

    assert (code, len(box.pushed)) == (0, 2)
    assert sorted(str(job.origin) for job in failed_jobs.all()) == ["store[0]@3", "store[0]@4"]


def test_what_has_failed_since_the_list_was_made_is_not_retried_with_it(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "TOGETHER", 10)
    for number in range(25):
        keep(failed_jobs, f"a-{number}", origin=f"store[0]@{number}")
    box.work = lambda number: keep(failed_jobs, f"b-{number}", origin=f"store[1]@{number}")

    artisan("queue:retry", "all")

    assert len(box.pushed) == 25
    assert sorted(failed_jobs.ids()) == sorted(f"b-{number}" for number in range(1, 26))


def test_many_are_read_and_forgotten_together(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "TOGETHER", 10)
    for number in range(25):
        keep(failed_jobs, f"a-{number}", origin=f"store[0]@{number}")
    calls = Counter[str]()
    for name in ("records", "read", "forget"):
        monkeypatch.setattr(failed_jobs, name, counted(calls, name, getattr(failed_jobs, name)))

    artisan("queue:retry", "all")

    assert len(box.pushed) == 25
    assert calls == {"records": 1, "read": 3, "forget": 3}


def counted(calls: Counter[str], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose calls are counted."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        calls[name] += 1
        return method(*arguments, **keywords)

    return call


def test_a_retry_that_is_interrupted_forgets_what_it_has_pushed(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box
) -> None:
    for id in "abc":
        keep(failed_jobs, id, origin=f"store[0]@{id}")

    def interrupt(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    box.work = interrupt

    artisan("queue:retry", "a", "b", "c")

    assert sorted(failed_jobs.ids()) == ["b", "c"]


def test_a_job_that_others_have_retried_meanwhile_is_told_and_not_pushed(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(failed_jobs, "a")
    read = failed_jobs.read

    def too_late(records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        failed_jobs.flush()
        return read(records)

    monkeypatch.setattr(failed_jobs, "read", too_late)

    code = artisan("queue:retry", "a")

    assert (code, box.pushed) == (1, [])
    assert "The failed job [a] was retried or deleted by others meanwhile" in capsys.readouterr().err


@dataclass(frozen=True)
class Letter(Job):
    """Says its word, and may fail."""

    name = "letter"
    said: ClassVar[list[str]] = []
    raises: ClassVar[type[BaseException]] = ValueError
    word: str = ""

    def handle(self) -> None:
        """Say it; raise if it is bad."""
        self.said.append(self.word)
        if self.word == "bad":
            raise self.raises("bad letter")


@pytest.fixture
def letters(app: Application, failed_jobs: FailedJobs) -> FailedJobs:
    """Failed letters of connections that keep no jobs, a bad one first."""
    Letter.said.clear()
    app.make(Registry).register(Letter)
    config = app.make(Config)
    for connection in ("sync", "deferred", "null"):
        config.set(f"queue.connections.{connection}", {"driver": connection})
        for word in ("good", "bad"):
            payload = write("letter", {"word": word}, id=f"{connection}-{word}")
            keep(failed_jobs, f"{connection}-{word}", connection=connection, payload=payload)
    return failed_jobs


def left(failed_jobs: FailedJobs) -> list[str]:
    """Names of the jobs that are recorded."""
    return sorted(str(json.loads(job.payload)["id"]) for job in failed_jobs.all())


def test_a_retry_on_a_deferred_connection_runs_the_job_whatever_becomes_of_others(
    letters: FailedJobs, artisan: Artisan
) -> None:
    assert artisan("queue:retry", "deferred-good", "nobody") == 1

    assert Letter.said == ["good"]
    assert "deferred-good" not in left(letters)


def test_a_retry_on_a_deferred_connection_that_fails_again_is_recorded_again(
    letters: FailedJobs, artisan: Artisan
) -> None:
    assert artisan("queue:retry", "deferred-bad") == 0

    assert Letter.said == ["bad"]
    [again] = [job for job in letters.all() if b"deferred-bad" in job.payload]
    assert "bad letter" in again.exception


def test_a_retry_that_fails_and_can_not_be_recorded_keeps_its_record(
    letters: FailedJobs, artisan: Artisan, monkeypatch: pytest.MonkeyPatch, capsys: Screen
) -> None:
    def refuse(failure: Failure) -> str:
        raise Unavailable("the store is away")

    monkeypatch.setattr(letters, "record", refuse)

    assert artisan("queue:retry", "deferred-bad") == 1
    assert "could not be recorded" in capsys.readouterr().err
    assert "deferred-bad" in left(letters)


def test_a_retry_that_dies_while_the_job_runs_keeps_its_record(
    letters: FailedJobs, artisan: Artisan, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen:
        """What is recorded while a letter says its word."""

        records: ClassVar[list[str]] = []

        def append(self, word: str) -> None:
            """Look."""
            self.records.extend(left(letters))

    monkeypatch.setattr(Letter, "said", Seen())

    artisan("queue:retry", "deferred-good")

    assert "deferred-good" in Seen.records


@pytest.mark.parametrize("error", [ValueError, SystemExit, QueueError])
def test_a_retry_on_sync_that_fails_again_keeps_its_record_and_stops_no_other(
    letters: FailedJobs,
    artisan: Artisan,
    capsys: Screen,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    monkeypatch.setattr(Letter, "raises", error)

    assert artisan("queue:retry", "sync-bad", "sync-good") == 1

    assert Letter.said == ["bad", "good"]
    said = capsys.readouterr()
    assert "bad letter" in said.err
    assert "sync-bad" in said.out
    assert [id for id in left(letters) if id.startswith("sync")] == ["sync-bad"]


def test_a_retry_on_a_connection_that_drops_jobs_is_refused(
    letters: FailedJobs, artisan: Artisan, capsys: Screen
) -> None:
    assert artisan("queue:retry", "null-good") == 1

    assert "It drops every job" in capsys.readouterr().err
    assert "null-good" in left(letters)


def test_the_record_of_a_job_in_another_process_goes_when_that_has_ended(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen
) -> None:
    keep(failed_jobs, "1")
    keep(failed_jobs, "2")
    seen: list[int] = []

    def ends() -> None:
        seen.append(len(failed_jobs.ids()))

    def dies() -> Exception:
        return QueueError("It has died.")

    box.work = lambda number: tell_of_process(ends if number == 1 else dies)

    assert artisan("queue:retry", "1", "2") == 1
    assert seen == [2]
    assert "It has died." in capsys.readouterr().err
    assert failed_jobs.ids() == ["2"]


def test_an_unknown_id_is_named_and_the_others_are_retried(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen
) -> None:
    keep(failed_jobs, "a")

    code = artisan("queue:retry", "nope", "a")

    assert (code, len(box.pushed)) == (1, 1)
    assert "Unable to find failed job with ID [nope]." in capsys.readouterr().err


def test_several_are_forgotten_each_by_itself(failed_jobs: FailedJobs, artisan: Artisan) -> None:
    for id in "abc":
        keep(failed_jobs, id, origin=f"store[0]@{id}")

    code = artisan("queue:forget", "a", "nope", "b")

    assert (code, failed_jobs.ids()) == (1, ["c"])


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("command", ["queue:forget", "queue:retry"])
def test_an_empty_id_is_an_error_and_nothing_is_done(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, command: str, empty: str
) -> None:
    keep(failed_jobs, "a")

    code = artisan(command, "a", empty)

    assert (code, failed_jobs.ids(), box.pushed) == (1, ["a"], [])
    assert "An id is empty" in capsys.readouterr().err


def test_an_empty_id_is_not_cancelled(artisan: Artisan, capsys: Screen) -> None:
    code = artisan("queue:cancel", "")

    assert (code, "An id is empty" in capsys.readouterr().err) == (1, True)


def test_a_job_that_fails_while_it_is_forgotten_keeps_its_new_record(
    failed_jobs: FailedJobs, artisan: Artisan, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(failed_jobs, "a", origin="store[0]@1")
    forget = failed_jobs.forget

    def fail_before(records: Sequence[FailedRecord]) -> int:
        keep(failed_jobs, "a", origin="store[0]@1", payload=PAYLOAD)
        return forget(records)

    monkeypatch.setattr(failed_jobs, "forget", fail_before)

    code = artisan("queue:forget", "a")

    assert (code, failed_jobs.ids()) == (1, ["a"])


def test_a_job_is_forgotten_once(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a")

    codes = [artisan("queue:forget", "a"), artisan("queue:forget", "a")]

    screen = capsys.readouterr()
    assert codes == [0, 1]
    assert "Failed job deleted successfully." in screen.out
    assert "No failed job matches the given ID." in screen.err


def test_flushing_by_age_keeps_the_new_ones(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a")

    artisan("queue:flush", "--hours=1")
    after_hours = failed_jobs.ids()
    artisan("queue:flush")

    assert (after_hours, failed_jobs.ids()) == (["a"], [])
    assert "All failed jobs deleted successfully." in capsys.readouterr().out


def test_a_negative_age_flushes_nothing(failed_jobs: FailedJobs, artisan: Artisan) -> None:
    keep(failed_jobs, "a")

    code = artisan("queue:flush", "--hours=-1")

    assert (code, failed_jobs.ids()) == (1, ["a"])


@pytest.mark.parametrize("words", [[], ["--hours=0"]])
def test_failed_jobs_of_production_are_flushed_by_force_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed_jobs: FailedJobs, capsys: Screen, words: list[str]
) -> None:
    keep(failed_jobs, "a")
    monkeypatch.setenv("APP_ENV", "production")
    app = Application(tmp_path, providers=[DatabaseServiceProvider, QueueServiceProvider])

    asked = app.run(["queue:flush", *words])
    left = [job.id for job in failed_jobs.all()]
    forced = app.run(["queue:flush", *words, "--force"])

    assert (asked, left, forced, list(failed_jobs.all())) == (1, ["a"], 0, [])
    assert "Add --force" in capsys.readouterr().err
    app.make(DatabaseManager).dispose()


@pytest.mark.parametrize("command", [["queue:failed"], ["queue:retry", "all"], ["queue:forget", "a"], ["queue:flush"]])
def test_a_missing_table_says_what_to_run(artisan: Artisan, capsys: Screen, command: list[str]) -> None:
    code = artisan(*command)

    assert code == 1
    assert "The table failed_jobs of the failed jobs is not there; run `migrate`." in capsys.readouterr().err


def test_a_list_has_the_jobs_that_are_asked_for(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    for number, (queue, name) in enumerate([("store", "a.x"), ("audit", "a.y"), ("store", "b.x"), ("store", "a.z")]):
        keep(failed_jobs, str(number), queue=queue, payload=json.dumps({"job": name}).encode(), origin=f"s[0]@{number}")

    def listed(*words: str) -> list[str]:
        assert artisan("queue:failed", "--json", *words) == 0
        return [job["id"] for job in json.loads(capsys.readouterr().out)["failed_jobs"]]

    assert listed() == ["3", "2", "1", "0"]
    assert listed("--queue=store") == ["3", "2", "0"]
    assert listed("--job=a.*") == ["3", "1", "0"]
    assert listed("--job=a.x") == ["0"]
    assert listed("--queue=store", "--job=a.*", "--limit=1") == ["3"]
    assert listed("--queue=none") == []


def test_a_limit_of_nothing_is_refused(failed_jobs: FailedJobs, artisan: Artisan) -> None:
    assert artisan("queue:failed", "--limit=0") == 1


def test_a_list_of_many_is_valid_json_and_reads_no_more_than_it_shows(
    failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(55):
        keep(failed_jobs, f"j-{number}", origin=f"s[0]@{number}")
    read = Counter[str]()
    monkeypatch.setattr(failed_jobs, "read", counted(read, "pages", failed_jobs.read))

    artisan("queue:failed", "--json")
    pages = read["pages"]
    every = json.loads(capsys.readouterr().out)["failed_jobs"]
    artisan("queue:failed", "--json", "--limit=3")

    assert [job["id"] for job in every] == [f"j-{number}" for number in reversed(range(55))]
    assert (pages, read["pages"]) == (3, 4)


def test_a_long_reason_has_one_line(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a", error=RuntimeError("x" * 500 + "\n\x1b[2J"))

    artisan("queue:failed")

    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("    RuntimeError: xxx")
    assert len(line) <= 80


# one job ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_shown_with_all_that_is_kept(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a", payload=b'{"job":"x","price":1.50,"n":12345678901234567890,"text":"\\u00fc\\/"}')

    code = artisan("queue:failed:show", "a")

    shown = capsys.readouterr().out
    assert code == 0
    words = [line.split(maxsplit=1) for line in shown.splitlines() if line.strip()]
    for pair in (
        ["ID", "a"],
        ["Job", "x"],
        ["Connection", "box"],
        ["Queue", "store"],
        ["Origin", "store[0]@1"],
        ["Key", "k\\xff"],
        ["trace", "\\u0000"],
        ["none", "null"],
        ['"price":', "1.50,"],
        ['"n":', "12345678901234567890,"],
        ['"text":', '"\\u00fc\\/"'],
        ["RuntimeError:", "boom"],
    ):
        assert pair in words


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\x00",
        b"[" * 100_000,
        b'{"a":"\x1b[2J"}',
        b'{"a":',
        b"\x1b]0;title\x07",
        "\u202e{}".encode(),
        b"{}\x9b",
    ],
)
def test_bytes_that_are_no_json_are_shown_and_steer_no_terminal(
    failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen, payload: bytes
) -> None:
    headers = [("h\x1b[2J", b"\x1b[2J"), ("n\nID  b", b"\nID  c")]
    keep(failed_jobs, "a", payload=payload, key=b"\x1b[2J\n", headers=headers, error=RuntimeError("\x1b[2J"))

    code = artisan("queue:failed:show", "a")

    shown = capsys.readouterr().out
    assert code == 0
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\x00"} & {*shown}
    assert len([line for line in shown.splitlines() if line.split()[:1] == ["ID"]]) == 1
    assert ("not JSON" in shown) == (payload != b"")


def test_a_job_for_programs_has_its_bytes(failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    keep(failed_jobs, "a", payload=b"\xff")

    artisan("queue:failed:show", "a", "--json")

    job = json.loads(capsys.readouterr().out)
    assert (job["payload"], job["key"]) == ({"base64": "/w=="}, {"base64": "a/8="})
    assert job["headers"] == [["trace", "\x00"], ["none", None]]


@pytest.mark.parametrize("id", ["nope", ""])
def test_a_job_that_is_not_there_is_told(failed_jobs: FailedJobs, artisan: Artisan, id: str) -> None:
    assert artisan("queue:failed:show", id) == 1


# many jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_jobs_of_a_queue_are_retried(failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen) -> None:
    keep(failed_jobs, "a", queue="audit")
    keep(failed_jobs, "b")

    codes = [artisan("queue:retry", "--queue=audit"), artisan("queue:retry", "--queue=audit")]

    assert (codes, [queue for queue, _ in box.pushed], failed_jobs.ids()) == ([0, 1], ["audit"], ["b"])
    assert "Unable to find failed jobs for queue [audit]." in capsys.readouterr().err


@pytest.mark.parametrize("words", [["a", "--queue=store"], ["--range=1-2"], ["all", "--queue=store"]])
def test_a_retry_that_is_not_clear_does_nothing(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, words: list[str]
) -> None:
    keep(failed_jobs, "a")

    code = artisan("queue:retry", *words)

    assert (code, box.pushed) == (1, [])
    assert "Nothing was done." in capsys.readouterr().err


@pytest.fixture
def numbered(app: Application) -> FailedJobs:
    """The application's store where its ids are numbers, with seven jobs."""
    app.make(Config).set("queue.failed", {"driver": "database"})
    Migrator(app.make(DatabaseManager).engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    found: FailedJobs = app.make(FailedJobs)
    for number in range(1, 8):
        keep(found, f"u-{number}", origin=f"store[0]@{number}")
    return found


def test_ranges_of_numbers_are_retried_beside_ids(numbered: FailedJobs, artisan: Artisan, box: Box) -> None:
    code = artisan("queue:retry", "1", "2", "--range=2-3", "--range=7-6")

    assert (code, len(box.pushed), numbered.ids()) == (0, 5, ["5", "4"])


def test_a_range_without_jobs_is_told(numbered: FailedJobs, artisan: Artisan, capsys: Screen) -> None:
    assert artisan("queue:retry", "--range=8-900") == 1
    assert "Unable to find failed jobs in the range [8-900]." in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["1", "1-", "-2", "a-b", "1-2-3", "1 - 2", "", "\u0661-\u0662", "1-" + "9" * 30])
def test_a_malformed_range_is_an_error_and_nothing_is_done(
    numbered: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, wrong: str
) -> None:
    code = artisan("queue:retry", "1", "--range=2-3", f"--range={wrong}")

    assert (code, box.pushed, len(numbered.ids())) == (1, [], 7)
    assert "is no range of ids" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["all", "b"], ["b", "all"], ["all", "all"]])
def test_an_id_beside_all_jobs_is_an_error_and_nothing_is_done(
    failed_jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, words: list[str]
) -> None:
    keep(failed_jobs, "b")

    code = artisan("queue:retry", *words)

    assert (code, failed_jobs.ids(), box.pushed) == (1, ["b"], [])
    assert "`all` are all jobs: give no other id and no --range beside it." in capsys.readouterr().err


@pytest.mark.parametrize("words", [["all"], ["--queue=store"]])
def test_a_range_beside_all_jobs_is_an_error_and_nothing_is_done(
    numbered: FailedJobs, artisan: Artisan, box: Box, words: list[str]
) -> None:
    code = artisan("queue:retry", *words, "--range=2-3")

    assert (code, box.pushed, len(numbered.ids())) == (1, [], 7)


def test_old_jobs_are_pruned_and_counted(
    app: Application, failed_jobs: FailedJobs, artisan: Artisan, capsys: Screen
) -> None:
    for id in "abc":
        keep(failed_jobs, id, origin=f"store[0]@{id}")
    with app.make(DatabaseManager).engine().begin() as connection:
        connection.execute(text("UPDATE failed_jobs SET failed_at = '2020-01-01 10:00:00.000000' WHERE uuid <> 'b'"))

    codes = [artisan("queue:prune-failed"), artisan("queue:prune-failed", "--hours=0")]

    assert (codes, failed_jobs.ids()) == ([0, 0], [])
    assert [line.strip() for line in capsys.readouterr().out.splitlines() if line] == [
        "INFO  2 entries deleted.",
        "INFO  1 entry deleted.",
    ]


def test_what_fails_while_jobs_are_pruned_stays(
    failed_jobs: FailedJobs, artisan: Artisan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        keep(failed_jobs, f"j-{number}", origin=f"store[0]@{number}")
    forget = failed_jobs.forget
    monkeypatch.setattr("lamplighter.queue.failed.CHUNK", 5)

    def fail_beside(records: Sequence[FailedRecord]) -> int:
        count = forget(records)
        keep(failed_jobs, f"new-{records[0].id}", origin=f"store[1]@{records[0].id}")
        return count

    monkeypatch.setattr(failed_jobs, "forget", fail_beside)

    artisan("queue:prune-failed", "--hours=0")

    assert sorted(failed_jobs.ids()) == ["new-j-1", "new-j-11", "new-j-6"]


def test_nothing_is_pruned_where_nothing_is_kept(app: Application, artisan: Artisan, capsys: Screen) -> None:
    app.make(Config).set("queue.failed", {"driver": "null"})

    code = artisan("queue:prune-failed")

    assert code == 1
    assert "can't be pruned" in capsys.readouterr().err


# the table ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["queue:failed-table", "make:queue-failed-table"])
def test_a_migration_for_the_table_is_written_once_and_serves(
    app: Application, artisan: Artisan, tmp_path: Path, capsys: Screen, name: str
) -> None:
    codes = [artisan(name), artisan(name)]

    [path] = (tmp_path / "database/migrations").glob("*.py")
    assert (codes, path.name[17:]) == ([0, 1], "_create_failed_jobs_table.py")
    assert f"[database/migrations/{path.name}] makes the table failed_jobs already." in capsys.readouterr().err
    artisan("migrate")
    store: FailedJobs = app.make(FailedJobs)
    keep(store, "a")
    assert store.ids() == ["a"]
    assert artisan("migrate:rollback") == 0


def test_the_skeletons_table_has_the_columns_of_the_one_that_the_command_writes() -> None:
    ours = ROOT / "database/migrations/2026_11_24_000000_create_failed_jobs_table.py"

    def columns(text: str) -> list[str]:
        return [line for line in text.splitlines() if "sa." in line and "op." not in line]

    assert len(columns(TEMPLATE)) == 14
    assert columns(ours.read_text()) == columns(TEMPLATE)


def test_a_table_of_another_name_has_a_migration_of_its_own(app: Application, artisan: Artisan, tmp_path: Path) -> None:
    app.make(Config).set("queue.failed.table", "dead_jobs")
    folder = tmp_path / "database/migrations"
    folder.mkdir(parents=True)
    ours = ROOT / "database/migrations/2026_11_24_000000_create_failed_jobs_table.py"
    (folder / "2026_11_24_000000_tables.py").write_text(ours.read_text())

    codes = [artisan("queue:failed-table"), artisan("queue:failed-table"), artisan("migrate")]

    assert codes == [0, 1, 0]
    app.make(Config).set("queue.failed.table", "failed_jobs")
    assert artisan("queue:failed-table") == 1  # made by a file of another name
    app.make(Config).set("queue.failed.table", "dead_jobs")
    store: FailedJobs = app.make(FailedJobs)
    keep(store, "a")
    assert store.ids() == ["a"]
