"""Calls of a server that have to come to an end."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lamplighter.support.forking import watch

LOOK = 1.0  # seconds between two looks for calls that last too long


class Bounded:
    """Cuts the connection of a call that has had no answer for too long: its driver would wait for ever."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begin_as_child()
        watch(self, in_child=Bounded._begin_as_child, locks=lambda bounded: (bounded._lock,))

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[object, tuple[float, Any]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, connection: Any) -> Iterator[None]:
        """For the time of a call by a connection of psycopg or PyMySQL."""
        call = object()
        with self._lock:
            self._calls[call] = time.monotonic() + self._seconds, connection
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="lamplighter-bounded", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._calls[call]

    def _look(self) -> None:
        while True:
            time.sleep(LOOK)
            now = time.monotonic()
            with self._lock:
                for until, connection in self._calls.values():
                    if now >= until:
                        _cut(connection)


def _cut(connection: Any) -> None:
    """End the connection below its driver, which finds it lost then."""
    with suppress(Exception):  # it has come to its end by itself
        number = connection.fileno() if hasattr(connection, "fileno") else connection._sock.fileno()
        with socket.socket(fileno=os.dup(number)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
