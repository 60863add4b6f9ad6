"""A beanstalkd of the tests' own, on loopback."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import greenstalk
import pytest

from lamplighter.queue.drivers.beanstalkd.connection import Address
from lamplighter.queue.drivers.beanstalkd.store import BeanstalkdStore
from tests.harness import free_ports, until_the_tests_end, wait_for

LARGEST = 4 * 1024 * 1024
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
        self._process = subprocess.Popen(until_the_tests_end(program), stdin=subprocess.DEVNULL)
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


class Line:
    """Between a store and its server: it is cut when the server's answer holds a word."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._listening.getsockname()[1], 5.0)
        self.cut_at = b""
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Cut what is there, and not what a client makes anew as soon as it sees the first cut."""
        sockets, self.sockets = self.sockets, []
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listening.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", self._server.port))
            self.sockets.extend((ours, theirs))
            for source, target, is_answer in ((ours, theirs, False), (theirs, ours, True)):
                threading.Thread(target=self._carry, args=(source, target, is_answer), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_answer and self.cut_at and self.cut_at in data:
                    self.cut_at = b""
                    self.cut()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)  # who has closed one end has closed the other
        except OSError:
            pass


def look_for_beanstalkd() -> None:
    """Fail, or skip, without the program."""
    if shutil.which("beanstalkd") is None:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a beanstalkd, and there is no such program")
        pytest.skip("no beanstalkd: install it")
