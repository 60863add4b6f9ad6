"""Hears of what is pushed to PostgreSQL."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Engine

from lamplighter.queue.drivers.database.own import OwnConnection

READ_EVERY = 5.0  # seconds after which a busy worker reads what it was told, which the server keeps until then


class Listener:
    """A connection that listens. What PHP workers push is not told."""

    def __init__(
        self, engine: Callable[[], Engine], channel: str, bounded: Callable[[Any], AbstractContextManager[None]]
    ) -> None:
        self._lock = threading.Lock()
        self._channel = channel
        self._own = OwnConnection(engine, self._listen, bounded)
        self._read_at = 0.0

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Until a job has come to one of the queues, True, or the time is over; a new connection is news, too."""
        with self._lock:
            is_new = not self._own.is_open
            if is_new:
                self._own.drop()
            try:
                connection = self._own.get()
                self._read_at = time.monotonic()
                return is_new or self._hear(connection, queues, self._read_at + seconds)
            except BaseException:
                self._own.drop()
                raise

    def drain(self) -> None:
        """Read what has come meanwhile, without waiting; called often while the worker is busy."""
        now = time.monotonic()
        if not self._read_at or now - self._read_at < READ_EVERY or not self._lock.acquire(blocking=False):
            return
        try:
            self._read_at = now
            if self._own.is_open:
                link = self._own.get().pgconn
                link.consume_input()
                while link.notifies() is not None:
                    pass
        except Exception:
            self._own.drop()  # the next wait opens another one, and tells what is wrong
        finally:
            self._lock.release()

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._own.drop()
            self._read_at = 0.0

    def leave_to_parent(self) -> None:
        """In a child: begin anew."""
        self._lock = threading.Lock()
        self._own.leave_to_parent()
        self._read_at = 0.0

    def _listen(self, connection: Any, former: object) -> None:
        connection.autocommit = True
        connection.execute(f'LISTEN "{self._channel}"')

    def _hear(self, connection: Any, queues: Sequence[str], until: float) -> bool:
        while (left := until - time.monotonic()) > 0:
            for notice in connection.notifies(timeout=left, stop_after=1):
                if notice.payload in queues:
                    return True
        return False
