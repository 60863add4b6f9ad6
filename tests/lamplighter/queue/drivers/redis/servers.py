"""A Redis of a test's own, which it may stop, kill and freeze, and a line to it that breaks in the middle."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from lamplighter.queue.drivers.redis.connect import Server, ServerOptions
from tests.harness import free_ports, until_the_tests_end, wait_for


def program() -> str:
    """The server of Redis, or of Valkey, where the tests are to have one; REDIS_TEST_SERVER chooses."""
    found = shutil.which(os.environ.get("REDIS_TEST_SERVER") or "redis-server") or shutil.which("valkey-server")
    if found is None or not os.environ.get("REDIS_TEST_URL"):
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Redis, and there is no redis-server, or REDIS_TEST_URL is not set")
        pytest.skip("no Redis: install redis-server, and set REDIS_TEST_URL")
    return found


class OwnRedis:
    """A server in a folder, whose data are on the disk before it answers."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_ports(1)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Begin, with what was there before."""
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        own += ["--appendonly", "yes", "--appendfsync", "always", "--logfile", str(self.folder / "log")]
        command = until_the_tests_end([program(), *own, *self._options])
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(self._answers, what="a server")

    def signal(self, number: int) -> None:
        """Stop, kill, freeze it or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._process.wait(20)

    def client(self, **options: Any) -> "redis.Redis":
        """A client of the test's."""
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def end(self) -> None:
        """Be gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client().ping())
        return False


class Cut(threading.Thread):
    """A line that passes bytes on, and breaks when an answer comes that `is_last` chooses."""

    def __init__(self, target: int) -> None:
        super().__init__(name="line", daemon=True)
        self.is_last: Callable[[bytes], bool] = lambda answer: False
        self.cuts = 0
        self._target = target
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.start()

    def run(self) -> None:
        """Until `end`."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                far.settimeout(None)
                self._ends.extend((near, far))
                for source, sink, is_answer in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._forward, args=(source, sink, is_answer), daemon=True).start()

    def cut(self) -> None:
        """Break all connections; new ones can be made."""
        ends, self._ends = self._ends, []  # not those that a client makes anew as soon as it sees the first cut
        for one in ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(5)

    def _forward(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if is_answer and self.is_last(data):
                    self.cuts += 1
                    break
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def server_of(client: "redis.Redis", prefix: str, **options: Any) -> Server:
    """How config/database.py would name a client's server."""
    settings = client.connection_pool.connection_kwargs
    values = {"host": settings["host"], "port": settings["port"], "database": settings.get("db") or 0, **options}
    return Server(where="config/database.py (redis.default)", prefix=prefix, options=ServerOptions(**values))
