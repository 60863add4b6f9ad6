"""Failed jobs in a JSON file."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lamplighter.errors import ConfigError, QueueError, Unavailable
from lamplighter.queue.failed import Failure, Wanted, file
from lamplighter.queue.failed.file import FileFailedJobs

UUID = "edf807ea-4b9a-47d9-bb6a-7e46844ad31f"
# As PHP writes it: with JSON_PRETTY_PRINT, slashes escaped.
LARAVELS = r"""[
    {
        "id": "0b6ae9c4-9b86-4f2b-a1f0-3b1d1e4a9f10",
        "connection": "redis",
        "queue": "default",
        "payload": "{\"uuid\":\"0b6ae9c4-9b86-4f2b-a1f0-3b1d1e4a9f10\",\"displayName\":\"App\\\\Jobs\\\\Mail\"}",
        "exception": "RuntimeException: boom in \/app\/Mail.php:7\nStack trace:\n#0 {main}",
        "failed_at": "2026-01-02 03:04:05",
        "failed_at_timestamp": 1767323045
    }
]"""


def failure(payload: bytes = b'{"job":"x"}', **fields: Any) -> Failure:
    """What is told of a job that has failed."""
    given: dict[str, Any] = {
        "connection": "redis",
        "queue": "store",
        "payload": payload,
        "error": RuntimeError("boom"),
        "uuid": UUID,
        "key": b"k",
        "headers": [],
        "origin": "store#7",
        "timestamp_ms": 5,
        **fields,
    }
    return Failure(**given)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, in a folder that is not there yet."""
    return tmp_path / "cache/failed-jobs.json"


@pytest.fixture
def failed_jobs(path: Path) -> FileFailedJobs:
    """An empty store."""
    return FileFailedJobs(path, limit=100)


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\xfe", b'{"a":"\x00"}', "ünï 😀".encode(), b"x" * 2_000_000])
@pytest.mark.parametrize("key", [None, b"", b"\xff\x00"])
def test_bytes_come_back_as_they_were(failed_jobs: FileFailedJobs, payload: bytes, key: bytes | None) -> None:
    headers = [("a", b"\x00\xff"), ("a", b""), ("b", None)]

    found = failed_jobs.find(failed_jobs.record(failure(payload, key=key, headers=headers)))

    assert found is not None
    assert (found.payload, found.key, list(found.headers)) == (payload, key, headers)


def test_the_file_has_laravels_fields_and_the_newest_first(failed_jobs: FileFailedJobs, path: Path) -> None:
    failed_jobs.record(failure(uuid="a", origin="store#1"))
    failed_jobs.record(failure(uuid="b", origin="store#2"))

    entries = json.loads(path.read_text())

    assert [entry["id"] for entry in entries] == failed_jobs.ids() == ["b", "a"]
    assert list(entries[0])[:7] == [
        "id",
        "connection",
        "queue",
        "payload",
        "exception",
        "failed_at",
        "failed_at_timestamp",
    ]


def test_what_laravel_has_written_is_read_and_deleted(failed_jobs: FileFailedJobs, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(LARAVELS)
    [job] = failed_jobs.all()

    count = failed_jobs.forget([job])

    assert (job.name, job.queue, job.origin) == ("App\\Jobs\\Mail", "default", None)
    assert job.failed_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (count, json.loads(path.read_text())) == (1, [])


def test_the_same_job_is_kept_once_and_others_of_its_uuid_beside_it(failed_jobs: FileFailedJobs) -> None:
    first = failed_jobs.record(failure())
    again = failed_jobs.record(failure(b'{"job":"x","attempts":2}', error=RuntimeError("second")))
    other = failed_jobs.record(failure(origin="store#8"))
    counted = failed_jobs.record(failure(b'{"job":"x","attempts":1}', error=RuntimeError("third")))

    assert first == UUID != other
    assert again != UUID  # it has a count that the first one does not have
    assert counted == again
    assert sorted(failed_jobs.ids()) == sorted({first, again, other})


def test_a_record_that_was_written_anew_since_it_was_read_is_not_deleted(failed_jobs: FileFailedJobs) -> None:
    failed_jobs.record(failure())
    read = [*failed_jobs.records()]
    failed_jobs.record(failure())

    assert (failed_jobs.forget(read), [*failed_jobs.read(read)], failed_jobs.ids()) == (0, [], [UUID])


def test_records_are_found_by_id_queue_and_time(failed_jobs: FileFailedJobs) -> None:
    for id, queue in (("a", "store"), ("b", "audit"), ("c", "store")):
        failed_jobs.record(failure(uuid=id, queue=queue, origin=f"{queue}#{id}"))
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    assert [record.id for record in failed_jobs.records(ids=["c", "none", "a", "c"])] == ["c", "a"]
    assert [record.id for record in failed_jobs.records(Wanted(queue="store"))] == ["c", "a"]
    assert [*failed_jobs.records(Wanted(until=long_ago))] == []
    assert (failed_jobs.prune(long_ago), failed_jobs.flush()) == (0, 3)


def test_beyond_its_limit_the_oldest_is_dropped_and_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failed_jobs = FileFailedJobs(path, limit=2)

    for id in "abc":
        failed_jobs.record(failure(uuid=id, origin=f"store#{id}"))

    assert failed_jobs.ids() == ["c", "b"]
    assert [(entry.levelname, entry.__dict__["id"]) for entry in caplog.records] == [("ERROR", "a")]


def test_what_was_not_written_has_dropped_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed_jobs = FileFailedJobs(path, limit=1)
    failed_jobs.record(failure())

    def refuse(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(Unavailable):
        failed_jobs.record(failure(uuid="b", origin="store#8"))

    assert (failed_jobs.ids(), caplog.records) == ([UUID], [])


def test_a_limit_that_keeps_nothing_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="limit 0"):
        FileFailedJobs(path, limit=0)


def test_what_is_no_record_stays_in_the_file(path: Path) -> None:
    others: list[Any] = [7, {"id": 7}, None, {"id": "x", "connection": "c", "queue": "q"}]
    path.parent.mkdir()
    path.write_text(json.dumps(others))

    failed_jobs = FileFailedJobs(path, limit=1)
    failed_jobs.record(failure(uuid="b", origin="store#8"))
    failed_jobs.record(failure())
    listed = failed_jobs.ids()
    failed_jobs.flush()

    assert (listed, json.loads(path.read_text())) == ([UUID], others)


@pytest.mark.parametrize(
    "fields",
    [
        {"failed_at_timestamp": "soon", "headers": 7, "key": "?", "exception": None, "origin": []},
        {"failed_at_timestamp": 1e300, "headers": "[1]", "payload_bytes": "?"},
        {"payload": "\ud800"},
    ],
)
def test_a_record_with_wrong_fields_is_shown_as_far_as_it_can_be(
    failed_jobs: FileFailedJobs, path: Path, fields: dict[str, Any]
) -> None:
    entry = {"id": "a", "connection": "c", "queue": "q", "payload": "{}", **fields}
    path.parent.mkdir()
    path.write_text(json.dumps([entry]))

    [job] = failed_jobs.all()

    assert (job.id, job.connection, job.queue) == ("a", "c", "q")
    assert failed_jobs.forget([job]) == 1


@pytest.mark.parametrize("text", ["{", "{}", "null", "[" * 100_000, "\x00"])
def test_a_file_that_holds_no_list_is_left_as_it_is(failed_jobs: FileFailedJobs, path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(QueueError, match="holds no list in JSON"):
        failed_jobs.record(failure())

    assert path.read_text() == text


def test_an_empty_file_has_no_records(failed_jobs: FileFailedJobs, path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    assert failed_jobs.ids() == []
    assert failed_jobs.record(failure()) == UUID


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_is_told_and_costs_no_record(
    failed_jobs: FileFailedJobs, path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failed_jobs.record(failure())

    def refuse(number: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(Unavailable, match=os.strerror(code)):
            failed_jobs.record(failure(uuid="b", origin="store#8"))

    assert failed_jobs.ids() == [UUID]
    assert sorted(each.name for each in path.parent.iterdir()) == ["failed-jobs.json", "failed-jobs.json.lock"]


def test_a_lock_that_another_process_never_gives_back_is_told(
    failed_jobs: FileFailedJobs, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOCK_WAIT", 0.05)
    other = FileFailedJobs(path, limit=100)
    failed_jobs.record(failure())

    with other._lock.held(), pytest.raises(Unavailable, match=r"has held its lock for 0\.05 s"):
        failed_jobs.record(failure())


def test_the_file_keeps_the_rights_that_it_was_given(failed_jobs: FileFailedJobs, path: Path) -> None:
    failed_jobs.record(failure())
    path.chmod(0o600)

    failed_jobs.record(failure(uuid="b", origin="store#8"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_threads_lose_no_record(failed_jobs: FileFailedJobs) -> None:
    def work(number: int) -> None:
        for place in range(5):
            failed_jobs.record(failure(uuid=f"{number}-{place}", origin=f"store#{number}-{place}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(failed_jobs.ids()) == 20


WRITER = """
import sys
from pathlib import Path
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.file import FileFailedJobs

failed_jobs = FileFailedJobs(Path(sys.argv[1]), limit=100_000)
number = 0
while True:
    failed_jobs.record(Failure(connection="c", queue="q", payload=b"x" * 2000, error=RuntimeError("boom"), uuid=None,
        key=None, headers=(), origin=f"{sys.argv[2]}#{number}", timestamp_ms=None))
    print(number, flush=True)
    number += 1
"""


def test_a_process_that_is_killed_loses_nothing_that_it_has_recorded(path: Path) -> None:
    def start(name: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", WRITER, str(path), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    killed, beside = start("a"), start("b")
    try:
        told = {"a": _lines(killed, 10), "b": _lines(beside, 10)}
        for process, name in ((killed, "a"), (beside, "b")):
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            told[name] += process.stdout.read().split()
            process.wait(30)
    finally:
        for process in (killed, beside):
            process.kill()
            process.communicate()

    kept = {record.origin for record in FileFailedJobs(path, limit=100_000).records()}
    assert {f"{name}#{number}" for name, numbers in told.items() for number in numbers} <= kept


def _lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    read: Callable[[], str] = process.stdout.readline  # type: ignore[union-attr]
    return [read().strip() for _ in range(count)]
