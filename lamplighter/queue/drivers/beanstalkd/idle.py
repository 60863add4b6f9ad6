"""Connections to beanstalkd for pushes and questions, which hold no job."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lamplighter.queue.drivers.beanstalkd.connection import Address, Connection

MOST_KEPT = 4


class IdleConnections:
    """Lends a connection to one thread at a time, and keeps a few for the next one."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.lock = threading.Lock()
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """One that nobody else uses.

        Raises:
            Unavailable: the server does not answer.
        """
        connection = self._take()
        try:
            yield connection
        finally:
            self._keep(connection)

    def close(self) -> None:
        """Close those that nobody uses."""
        with self.lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def leave_to_parent(self) -> None:
        """In a child of a fork: begin without any."""
        for connection in [*self._idle, *self._lent]:
            connection.leave_to_parent()
        self._begin_anew()

    def _take(self) -> Connection:
        while True:
            with self.lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
                self._lent.add(connection)
            if connection.is_alive():
                return connection
            with self.lock:
                self._lent.discard(connection)
        connection = Connection(self._address)
        with self.lock:
            self._lent.add(connection)
        return connection

    def _keep(self, connection: Connection) -> None:
        with self.lock:
            self._lent.discard(connection)
            if connection.is_open and len(self._idle) < MOST_KEPT:
                self._idle.append(connection)
                return
        if connection.is_open:
            connection.close()
