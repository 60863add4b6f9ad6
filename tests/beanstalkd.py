"""A beanstalkd of the tests' own, on loopback."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import greenstalk
import pytest

from lamplighter.queue.drivers.beanstalkd.connection import Address
from lamplighter.queue.drivers.beanstalkd.store import BeanstalkdStore
from tests.harness import free_ports, wait_for

LARGEST = 2 * 1024 * 1024
Stores = Callable[..., BeanstalkdStore]


class Server:
    """A beanstalkd process; with a folder it keeps its jobs there."""

    def __init__(self, folder: Path | None = None) -> None:
        self.port = free_ports(1)
        self._options = ["-b", str(folder), "-f", "0"] if folder else []
        self.start()

    def start(self) -> None:
        """Start it, again with what its folder has."""
        program = ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-z", str(LARGEST), *self._options]
        self._process = subprocess.Popen(program, stdin=subprocess.DEVNULL)
        wait_for(self._answers)

    def kill(self) -> None:
        """End it without a word."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def freeze(self, *, frozen: bool) -> None:
        """Let it answer nothing, or go on."""
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def client(self, tube: str) -> "greenstalk.Client[bytes]":
        """A client of a tube, as PHP's would be."""
        return greenstalk.Client(("127.0.0.1", self.port), encoding=None, use=tube, watch=tube)

    def store(
        self, ttr: int = 30, *, timeout: float = 5.0, block_for: int = 0, priority: int = 1024
    ) -> BeanstalkdStore:
        """One worker's store."""
        address = Address("127.0.0.1", self.port, timeout)
        return BeanstalkdStore(address, ttr=ttr, block_for=block_for, priority=priority)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def look_for_beanstalkd() -> None:
    """Fail, or skip, without the program."""
    if shutil.which("beanstalkd") is None:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a beanstalkd, and there is no such program")
        pytest.skip("no beanstalkd: install it")
