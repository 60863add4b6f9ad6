"""What the processes of one project know of their embedded broker: a few files in storage/framework."""

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from lamplighter.errors import BrokerUnavailable

LOOK = 0.02  # seconds between two tries for the lock


@dataclass(frozen=True, slots=True)
class Running:
    """A broker process that lives."""

    pid: int
    address: str


class BrokerFolder:
    """Where the broker is, who uses it, and the lock under which both are settled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "embedded-broker.log"
        self._file = path / "embedded-broker.json"
        self._users = path / "embedded-users"

    @contextmanager
    def alone(self, *, wait: float) -> Iterator[None]:
        """Hold the lock under which a broker is found, started and ended.

        Raises:
            BrokerUnavailable: another process has held it for `wait` seconds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = self.path / "embedded-broker.lock"
        until = time.monotonic() + wait
        with lock.open("w") as file:
            while not _take(file.fileno()):
                if time.monotonic() >= until:
                    raise BrokerUnavailable(f"Another process has been starting the embedded broker: it holds {lock}.")
                time.sleep(LOOK)
            yield

    def running(self) -> Running | None:
        """The broker that the file tells of, if it is still that very process and answers."""
        told = self._told()
        if told is None or not _lives(told) or not _answers(told[2]):
            return None
        return Running(told[0], told[2])

    def was_lost(self) -> bool:
        """Whether a broker has died without saying so; what it held is gone."""
        told = self._told()
        return told is not None and not _lives(told)

    def publish(self, address: str) -> None:
        """Called by the broker's process: tell where it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(f".{os.getpid()}")
        fields = {"pid": os.getpid(), "started": started(os.getpid()), "address": address}
        draft.write_text(json.dumps(fields), encoding="utf-8")
        draft.replace(self._file)

    def is_published(self) -> bool:
        """Called by the broker's process: whether the others still look for it here."""
        told = self._told()
        return told is not None and told[:2] == (os.getpid(), started(os.getpid()))

    def withdraw(self) -> None:
        """Called by the broker's process at its end; leaves a successor's word alone."""
        if self.is_published():
            self._file.unlink(missing_ok=True)

    def lease(self) -> int:
        """Count this process among the users until the descriptor is closed; a crash closes it, too."""
        self._users.mkdir(parents=True, exist_ok=True)
        draft = self._users / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.draft"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Held first, named second: what bears this name and is held by nobody is removed.
        draft.rename(draft.with_suffix(".lock"))
        return descriptor

    def has_users(self) -> bool:
        """Whether a process uses the broker; the leases of those that are gone are removed."""
        return sum(map(_is_held, self._users.glob("*.lock"))) > 0

    def _told(self) -> tuple[int, float, str] | None:
        try:
            fields = json.loads(self._file.read_text(encoding="utf-8"))
            return int(fields["pid"]), float(fields["started"]), str(fields["address"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def started(pid: int) -> float | None:
    """When a process was started, good for comparing only; None where there is no such process, or only its shell.

    On Linux in ticks since boot: a time of day would move when the clock is set, as it is after a laptop's sleep.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists():
            return process.create_time()
        return float(stat.read_text().rpartition(")")[2].split()[19])
    except (OSError, psutil.Error):
        return None


def _lives(told: tuple[int, float, str]) -> bool:
    return started(told[0]) == told[1]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except (OSError, ValueError):
        return False


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(lease: Path) -> bool:
    try:
        with lease.open("r+") as file:
            if not _take(file.fileno()):
                return True
            lease.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return False
