"""Nothing is left of a file that could not be written: on a full disk it would take the room that is missing."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamplighter.cache.stores.file import FileStore
from lamplighter.console.generators import Generator
from lamplighter.database.migrations.making import make
from lamplighter.errors import CacheUnavailable, ConsoleError, Unavailable
from lamplighter.foundation.maintenance import FileMaintenance
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.queue.claims.folder import FileClaims
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.file import FileFailedJobs
from lamplighter.queue.guard.health import Heartbeat

ROOM = 16  # bytes that a file may have; what is written has more
TEXT = "x" * 1000

FAILURE = Failure(
    connection="redis",
    queue="store",
    payload=TEXT.encode(),
    error=RuntimeError("boom"),
    uuid=None,
    key=None,
    headers=(),
    origin="store#1",
    timestamp_ms=None,
)


@contextmanager
def little_room() -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond `ROOM`, as a disk does that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder: Path) -> list[str]:
    """The names of the files below a folder, but for locks, which are empty."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


WRITERS: dict[str, tuple[type[Exception], Callable[[Path], object]]] = {
    "a claim": (Unavailable, lambda folder: FileClaims(folder).put(TEXT.encode())),
    "the file cache": (CacheUnavailable, lambda folder: FileStore(folder).put("key", TEXT, None)),
    "a failed job": (Unavailable, lambda folder: FileFailedJobs(folder / "failed.json", limit=100).record(FAILURE)),
    "maintenance mode": (ConsoleError, lambda folder: FileMaintenance(folder / "down").activate({"text": TEXT})),
    "make:job": (ConsoleError, lambda folder: Generator(folder).create("Job", "SendLetter", "app/Jobs", TEXT)),
    "make:migration": (OSError, lambda folder: make(folder, "create_letters_table")),
    "the broker's address": (OSError, lambda folder: BrokerFolder(folder).begin(TEXT)),
    "the broker's counts": (OSError, lambda folder: BrokerFolder(folder).note({"topic": 10**20})),
    "large messages": (OSError, lambda folder: LargePushes(folder).add("topic/0", end=1, size=1)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_could_not_be_written_leaves_nothing(tmp_path: Path, writer: str) -> None:
    error, write = WRITERS[writer]

    with little_room(), pytest.raises(error):
        write(tmp_path)

    assert files(tmp_path) == []


def test_a_heartbeat_that_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, "kafka", ["store"])

    with little_room():
        heartbeat.write()

    assert files(tmp_path) == []


def test_a_file_that_could_not_be_overwritten_is_as_it_was(tmp_path: Path) -> None:
    generator = Generator(tmp_path)
    job = generator.create("Job", "SendLetter", "app/Jobs", TEXT)

    with little_room(), pytest.raises(ConsoleError):
        generator.create("Job", "SendLetter", "app/Jobs", TEXT * 2, force=True)

    assert (files(tmp_path), job.read_text()) == (["send_letter.py"], TEXT)


def test_an_interrupt_leaves_no_draft_of_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        FileClaims(tmp_path).put(TEXT.encode())

    assert files(tmp_path) == []
