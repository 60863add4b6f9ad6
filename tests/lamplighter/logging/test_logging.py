"""Where log lines go, and what stands in them."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import ConfigError
from lamplighter.logging.channels import LOGGERS, configure
from lamplighter.logging.context import job_context
from lamplighter.logging.formatters import JsonFormatter, LineFormatter
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.jobs.payload import Envelope
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Start
from tests.programs import run


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    before = {name: (list(logging.getLogger(name).handlers), logging.getLogger(name).level) for name in LOGGERS}
    yield
    for name, (handlers, level) in before.items():
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.level, logger.propagate = handlers, level, True


def settings(driver: str, **options: Any) -> dict[str, Any]:
    """One channel."""
    return {"default": "one", "channels": {"one": {"driver": driver, **options}}}


def record(**extra: Any) -> logging.LogRecord:
    """A record with fields."""
    return logging.getLogger("lamplighter.test").makeRecord(
        "lamplighter.test", logging.WARNING, "file.py", 1, "brokers %s", ("away",), None, extra=extra
    )


def test_a_line_has_its_fields_behind_the_message() -> None:
    line = LineFormatter().format(record(brokers="a:9092", reason="not there", empty=""))

    assert line.split(" ", 2)[2] == 'WARNING lamplighter.test: brokers away brokers=a:9092 reason="not there" empty=""'


def test_a_field_can_not_begin_a_new_line() -> None:
    assert "\n" not in LineFormatter().format(record(reason="one\ntwo"))


def test_what_a_sender_put_into_a_key_does_not_reach_the_terminal_as_a_command() -> None:
    assert LineFormatter().format(record(id="\x1b[31mred\x00")).endswith(r'id="\u001b[31mred\u0000"')
    assert LineFormatter().format(record(id="\x9b31mred")).endswith(r'id="\u009b31mred"')


def test_json_is_one_object_with_the_job_in_hand() -> None:
    start = Start(SyncDelivery(Message(b""), "kafka", "store"), Policy(tries=1, backoff=(), timeout=0))
    start.name, start.envelope = "job.data.store", Envelope(job="job.data.store", id="k1")
    token = job_context.set(start)

    fields = json.loads(JsonFormatter().format(record(delay=5)))

    job_context.reset(token)
    assert {name: fields[name] for name in ("level", "message", "job", "id", "attempt", "position", "delay")} == {
        "level": "warning",
        "message": "brokers away",
        "job": "job.data.store",
        "id": "k1",
        "attempt": 1,
        "position": "sync",
        "delay": 5,
    }


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_a_field_hides_neither_the_job_nor_the_record(formatter: logging.Formatter) -> None:
    start = Start(SyncDelivery(Message(b""), "kafka", "store"), Policy(tries=1, backoff=(), timeout=0))
    start.name, start.envelope = "job.data.store", Envelope(job="job.data.store", id="k1")
    token = job_context.set(start)

    line = formatter.format(record(id="row 7", job="job.data.store", level="high"))

    job_context.reset(token)
    for word in ("k1", "extra_id", "row 7", "extra_level", "high"):
        assert word in line
    assert "extra_job" not in line


@pytest.mark.parametrize(
    ("field", "told"),
    [({("a", 1): 2}, "{('a', 1): 2}"), (float("nan"), "nan"), ({1, 2}, "{1, 2}"), ({1: "a"}, {"1": "a"})],
)
def test_json_can_always_be_read(field: object, told: object) -> None:
    def refuse(word: str) -> None:
        raise ValueError(word)

    fields = json.loads(JsonFormatter().format(record(field=field, count=2)), parse_constant=refuse)

    assert (fields["field"], fields["count"]) == (told, 2)


def test_a_field_that_holds_itself_is_told_as_text() -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle

    assert json.loads(JsonFormatter().format(record(circle=circle)))["circle"] == "{'self': {...}}"


def test_text_that_no_file_can_hold_is_written_escaped(tmp_path: Path) -> None:
    configure(settings("single", path="app.log", format="json"), lambda path: tmp_path / path)

    logging.getLogger("app").error("half", extra={"word": "a\udc80"})

    assert json.loads((tmp_path / "app.log").read_text(encoding="utf-8"))["word"] == "a\udc80"


def test_a_channel_writes_from_its_level_on(tmp_path: Path) -> None:
    configure(settings("single", path="logs/app.log", level="warning"), lambda path: tmp_path / path)

    logging.getLogger("app.Jobs").info("quiet")
    logging.getLogger("lamplighter.queue").error("loud")

    assert [line.split(" ", 2)[2] for line in (tmp_path / "logs/app.log").read_text().splitlines()] == [
        "ERROR lamplighter.queue: loud"
    ]


def test_a_file_that_was_renamed_is_followed_by_a_new_one(tmp_path: Path) -> None:
    configure(settings("single", path="app.log"), lambda path: tmp_path / path)
    log = logging.getLogger("app")
    log.error("before")

    (tmp_path / "app.log").rename(tmp_path / "app.log.1")
    log.error("after")

    assert "before" in (tmp_path / "app.log.1").read_text()
    assert "after" not in (tmp_path / "app.log.1").read_text()
    assert "after" in (tmp_path / "app.log").read_text()


def test_a_file_whose_folder_was_removed_is_made_anew(tmp_path: Path) -> None:
    configure(settings("single", path="logs/app.log"), lambda path: tmp_path / path)
    log = logging.getLogger("app")
    log.error("before")

    shutil.rmtree(tmp_path / "logs")
    log.error("after")

    assert "after" in (tmp_path / "logs/app.log").read_text()


def test_a_file_that_can_not_be_written_is_told_once_and_its_lines_go_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "storage").write_text("no folder")
    configure(settings("single", path="storage/logs/app.log"), lambda path: tmp_path / path)
    log = logging.getLogger("app")

    for word in ("one", "two"):
        log.error(word)
    out = capsys.readouterr().err
    (tmp_path / "storage").unlink()
    log.error("three")

    lines = [line.split(" ", 3)[3] for line in out.splitlines()]
    told = (
        f"the log file can't be written; lines go to stderr until it can path={tmp_path}/storage/logs/app.log reason="
    )
    assert lines[0].removeprefix("lamplighter.logging.files: ").startswith(told)
    assert lines[1:] == ["app: one", "app: two"]
    assert (tmp_path / "storage/logs/app.log").read_text().endswith("app: three\n")
    assert capsys.readouterr().err == ""


def test_a_full_disk_costs_no_line_and_is_told_again_when_it_is_full_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(settings("single", path="app.log"), lambda path: tmp_path / path)
    log, file = logging.getLogger("app"), tmp_path / "app.log"
    seen = []
    for turn in range(2):
        file.unlink(missing_ok=True)
        file.symlink_to("/dev/full")
        for word in ("lost", "lost too"):
            log.error("%s %d", word, turn)
        file.unlink()
        file.write_text("half a line")
        log.error("back")
        seen.append((capsys.readouterr().err, file.read_text()))

    for turn, (err, kept) in enumerate(seen):
        assert [err.count(word) for word in ("No space left on device", f"lost {turn}", f"lost too {turn}")] == [
            1,
            1,
            1,
        ]
        assert kept.splitlines()[0] == "half a line"
        assert kept.splitlines()[1].endswith("app: back")


def test_a_record_that_can_not_be_formatted_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(settings("single", path="app.log"), lambda path: tmp_path / path)

    logging.getLogger("app").error("%d", "no number")
    logging.getLogger("app").error("next")

    assert (tmp_path / "app.log").read_text().endswith("app: next\n")
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_the_stack_that_was_asked_for_is_written(formatter: logging.Formatter) -> None:
    given = record()
    given.stack_info = "Stack (most recent call last): here"

    assert "most recent call last): here" in formatter.format(given)


def test_configuring_again_writes_each_line_once(tmp_path: Path) -> None:
    for _ in range(2):
        configure(settings("single", path="app.log"), lambda path: tmp_path / path)

    logging.getLogger("app").error("once")

    assert (tmp_path / "app.log").read_text().count("once") == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"default": "two", "channels": {"one": {"driver": "null"}}}, "no channel 'two'; it has one"),
        (settings("stderr", level="loud"), "'loud'"),
        (settings("stderr", colour="red"), "'colour'"),
        (settings("mail"), "'driver'"),
        ({"default": "one", "channels": {"one": None}}, r"channels.one\)"),
        ({"default": "one", "channels": None}, "no channel 'one'"),
        ({"default": "one", "channels": 5}, "a int for the key 'channels'"),
        ({"default": [], "channels": {}}, r"no channel \[\]"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        configure(wrong, Path)


def test_a_wrong_setting_leaves_the_channel_that_there_is(tmp_path: Path) -> None:
    configure(settings("single", path="app.log"), lambda path: tmp_path / path)

    with pytest.raises(ConfigError):
        configure(settings("single", path="other.log", level="loud"), lambda path: tmp_path / path)

    for name in LOGGERS:
        logging.getLogger(name).error("still here")
    assert (tmp_path / "app.log").read_text().count("still here") == len(LOGGERS)


def test_children_log_while_threads_of_their_parent_do(tmp_path: Path) -> None:
    said = run(
        """
import logging
from pathlib import Path
from lamplighter.logging.channels import configure

configure({"default": "file", "channels": {"file": {"driver": "single", "path": sys.argv[1]}}}, Path)
log = logging.getLogger("app")
ended = threading.Event()

def work(number):
    count = 0
    while not ended.is_set():
        log.info("thread %s %s", number, count)
        count += 1

threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
ends = []
for number in range(12):
    time.sleep(0.002)
    child = os.fork()
    if child == 0:
        log.info("child %s", number)
        sys.exit(0)
    ends.append(outcome(child))
ended.set()
for thread in threads:
    thread.join()
print(set(ends))
""",
        tmp_path / "app.log",
    )

    lines = [line.partition("app: ")[2] for line in (tmp_path / "app.log").read_text().splitlines()]
    assert said == "{0}\n"
    assert len(set(lines)) == len(lines)
    assert {f"child {number}" for number in range(12)} <= set(lines)
