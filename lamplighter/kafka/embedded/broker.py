"""Finds the embedded broker of this project, or starts it."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from lamplighter.errors import BrokerUnavailable, ConfigError

START_TIMEOUT = 10.0  # seconds
NOTICE = (
    "The embedded broker keeps nothing when it ends, and at most about 5 MB a partition: it is for development. "
    "Set KAFKA_BROKERS for anything else."
)


@dataclass(frozen=True, slots=True)
class Running:
    """A broker process that lives."""

    pid: int
    address: str


class EmbeddedBroker:
    """The broker of one project, shared by all its processes; it ends a minute after the last of them."""

    def __init__(self, folder: Path, *, environment: str) -> None:
        self._folder = folder
        self._environment = environment
        self._file = folder / "embedded-broker.json"
        self._users = folder / "embedded-users"
        self._lease: IO[str] | None = None
        self.has_started = False

    def address(self) -> str:
        """`host:port`; starts the broker when there is none, and counts this process among its users.

        Raises:
            ConfigError: the environment is production.
            BrokerUnavailable: it did not come up; the message names its log.
        """
        if self._environment == "production":
            raise ConfigError("The embedded broker keeps nothing, so it refuses production. Set KAFKA_BROKERS.")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._attach()
        with self._alone():
            running = self.running()
            if running is None:
                running = self._start()
        return running.address

    def running(self) -> Running | None:
        """The broker that the file tells of, if it is still that very process and answers."""
        try:
            fields = json.loads(self._file.read_text(encoding="utf-8"))
            process = psutil.Process(int(fields["pid"]))
            is_same = abs(process.create_time() - float(fields["created"])) < 1
            address = str(fields["address"])
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return Running(process.pid, address) if is_same and _answers(address) else None

    def publish(self, address: str) -> None:
        """Called by the broker's own process: tell where it is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(f".{os.getpid()}")
        fields = {"pid": os.getpid(), "created": psutil.Process().create_time(), "address": address}
        draft.write_text(json.dumps(fields), encoding="utf-8")
        draft.replace(self._file)

    def withdraw(self) -> None:
        """Called by the broker's own process at its end."""
        self._file.unlink(missing_ok=True)

    def has_users(self) -> bool:
        """Whether a process uses it; the leases of those that are gone are removed."""
        return sum(map(_is_held, self._users.glob("*.lock"))) > 0

    def _attach(self) -> None:
        """Hold a lease: the kernel lets go of it however this process ends."""
        if self._lease is not None:
            return
        self._users.mkdir(parents=True, exist_ok=True)
        self._lease = (self._users / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock").open("w")
        fcntl.flock(self._lease, fcntl.LOCK_EX)

    def _start(self) -> Running:
        log = self._folder / "embedded-broker.log"
        with log.open("w") as output:
            # A session of its own: Ctrl-C in the terminal that started it must not reach the broker.
            process = subprocess.Popen(
                [sys.executable, "-m", "lamplighter.kafka.embedded.serve", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        until = time.monotonic() + START_TIMEOUT
        while time.monotonic() < until and process.poll() is None:
            running = self.running()
            if running is not None:
                self.has_started = True
                return running
            time.sleep(0.02)
        raise BrokerUnavailable(f"The embedded broker did not come up within {START_TIMEOUT:g} s; its log is {log}.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / "embedded-broker.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except (OSError, ValueError):
        return False


def _is_held(lease: Path) -> bool:
    try:
        with lease.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lease.unlink(missing_ok=True)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False
