"""The heartbeat of a worker, in a file that `queue:health` reads."""

import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from lamplighter.errors import QueueError
from lamplighter.support.files import read_file, replacing

log = logging.getLogger(__name__)

THREADS = ("worker", "polling")
LATE = 10.0  # seconds without a turn of its loop until a thread counts as standing still


class Heartbeat:
    """Two threads beat; the file tells when each did last.

    `beats` are in seconds since 1970, for people. `ticks` are of the clock that all processes of the host share and
    that nobody can set: by them the age of a beat is measured.
    """

    def __init__(self, folder: Path, connection: str, queues: Sequence[str]) -> None:
        self._file = folder / f"{os.getpid()}.json"
        self._connection = connection
        self._queues = list(queues)
        self._beats = dict.fromkeys(THREADS, time.monotonic())
        self._started = started(psutil.Process())
        self._is_out = False

    def beat(self, thread: str) -> None:
        """This thread is alive."""
        self._beats[thread] = time.monotonic()

    def write(self) -> None:
        """Put the beats into the file, in one step; where that fails, each outage is told once."""
        try:
            self._write()
            self._is_out = False
        except OSError as error:
            if not self._is_out:
                fields = {"path": str(self._file), "reason": error.strerror}
                log.error("the heartbeat can't be written; queue:health does not see this worker", extra=fields)
            self._is_out = True

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".draft")
        ahead = time.time() - time.monotonic()
        fields = {
            "pid": os.getpid(),
            "started": self._started,
            "connection": self._connection,
            "queues": self._queues,
            "beats": {thread: ahead + at for thread, at in self._beats.items()},
            "ticks": self._beats,
        }
        with replacing(self._file, draft):
            draft.write_text(json.dumps(fields), encoding="utf-8")

    def remove(self) -> None:
        """The worker ends."""
        with suppress(OSError):  # without a process of this number it counts as gone
            self._file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Health:
    """One worker: how many seconds ago each of its threads beat."""

    pid: int
    connection: str
    queues: tuple[str, ...]
    ages: dict[str, float]

    def late(self, seconds: float) -> list[str]:
        """The threads that have not beaten for so long."""
        return [thread for thread, age in self.ages.items() if not age <= seconds]  # an age that is no number is late


def started(process: psutil.Process) -> float:
    """When a process was started, in seconds since the machine was: setting the clock moves both ends."""
    return float(process.create_time() - psutil.boot_time())


def read_health(folder: Path) -> list[Health]:
    """The workers of this host; the files of those that are gone are removed.

    Raises:
        QueueError: a file is there and can't be read, so that nobody knows of its worker.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        health = _read(file)
        if health is None:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        else:
            found.append(health)
    return found


def _read(file: Path) -> Health | None:
    try:
        text = read_file(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        is_refused = isinstance(error, PermissionError)
        advice = (
            "Ask as the user that the workers run as." if is_refused else "Remove it, if no worker has put it there."
        )
        raise QueueError(f"{file} can't be read: {error.strerror}. {advice}") from error
    try:
        fields = json.loads(text)
        process = psutil.Process(int(fields["pid"]))
        # Another process may have been given the number of one that was killed.
        if abs(started(process) - float(fields["started"])) > 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
        # An earlier version wrote no ticks. A beat that is still to come is as wrong as an old one.
        now, beats = (time.monotonic(), fields["ticks"]) if "ticks" in fields else (time.time(), fields["beats"])
        ages = {thread: abs(now - float(beats[thread])) for thread in THREADS}
        return Health(process.pid, str(fields["connection"]), tuple(fields["queues"]), ages)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, psutil.Error):
        return None
