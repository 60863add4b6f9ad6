"""Pools whose connections a fork finds in order."""

import threading
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from lamplighter.database.sqlite import FileMovedError, SqliteConnection
from lamplighter.errors import ForkError

TRIES = 50  # to connect to a file that others replace again and again; a pool has fewer connections


class FilePool(QueuePool):
    """Connections to an SQLite file.

    Attributes:
        gate: whoever takes a connection holds it.
        is_shared: this is a child, and connections of its parent's were open when it was forked.
    """

    __module__ = QueuePool.__module__  # by which SQLAlchemy names its logger: its lines are none of ours

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gate = threading.RLock()
        self.is_shared = False

    def connect(self) -> PoolProxiedConnection:
        """A connection to the file that stands at the path now; whoever asks for it closes it.

        Raises:
            ForkError: one of the parent's was in use when this process was forked.
        """
        with self.gate:
            if self.is_shared:
                raise ForkError(
                    "This process was forked while its parent used a connection to the same SQLite file; what it would "
                    "write could be lost. Close sessions and connections before you fork, or start the child by "
                    "`spawn`. PostgreSQL and MySQL have no such limit."
                )
            connection = self._connect()
        connection.taken_by = threading.get_ident()  # type: ignore[attr-defined]
        return connection

    def _connect(self) -> PoolProxiedConnection:
        """Of those that are open, one whose file was not moved, else a new one."""
        for _ in range(TRIES):
            connection = super().connect()
            if not has_moved(connection.driver_connection):
                return connection
            connection.invalidate()
        raise FileMovedError("The SQLite file was replaced again and again while it was being opened.")


class ServerPool(QueuePool):
    """Connections to a server. Its first one teaches the engine what it speaks to, once for all: `gate` is held."""

    __module__ = QueuePool.__module__  # by which SQLAlchemy names its logger: its lines are none of ours

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gate = threading.RLock()
        self._has_connected = False

    def connect(self) -> PoolProxiedConnection:
        """A connection; whoever asks for it closes it."""
        if self._has_connected:
            return super().connect()
        with self.gate:
            connection = super().connect()
        self._has_connected = True
        return connection


def has_moved(connection: Any) -> bool:
    """Whether this is a connection to a file that is not at its path any more."""
    return isinstance(connection, SqliteConnection) and connection.has_moved


def user_of(entry: ConnectionPoolEntry) -> Any:
    """What a thread was given when it has taken a connection; None where nobody has it."""
    reference = getattr(entry, "fairy_ref", None)
    return reference() if reference is not None else None


def is_with_another_thread(entry: ConnectionPoolEntry) -> bool:
    """Whether a connection to a file is in use, and not by this thread."""
    return entry.in_use and getattr(user_of(entry), "taken_by", None) != threading.get_ident()
