"""The connection by which a worker takes jobs; it stays open."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from sqlalchemy import Engine

from lamplighter.database.pool import FilePool
from lamplighter.support.immortal import keep_for_ever


class OwnConnection:
    """A connection that nobody else is given, opened when it is needed and after it was lost.

    One to a server is taken from the engine's pool, which knows what has to happen to it in a fork. One to an SQLite
    file is not: it has to be closed before a fork, and only its owner knows when.

    Args:
        prepare: called with a new connection and what it has returned of the one before, None without one.
        bounded: calls of a server come to an end within it.

    Attributes:
        is_used: whether a thread is calling by it. Said for files only.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        prepare: Callable[[Any, Any], object],
        bounded: Callable[[Any], AbstractContextManager[None]],
    ) -> None:
        self._engine = engine
        self._prepare = prepare
        self._bounded = bounded
        self._former: Any = None
        self._pooled: Any = None
        self._connection: Any = None
        self._opened_by: Engine | None = None
        self.is_used = False

    @property
    def is_open(self) -> bool:
        """Whether there is one, and it was not lost as far as its driver knows."""
        connection = self._connection
        if connection is None or isinstance(connection, sqlite3.Connection):
            return connection is not None
        return bool(connection.open) if hasattr(connection, "open") else not connection.closed

    @property
    def is_file(self) -> bool:
        """Whether it is one to a file."""
        return isinstance(self._connection, sqlite3.Connection)

    def get(self) -> Any:
        """The driver's connection."""
        if self._connection is None:
            self._open()
        return self._connection

    def drop(self) -> None:
        """Close it, whatever is under way."""
        connection, self._connection = self._connection, None
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            pooled.invalidate()
            pooled.close()
        elif connection is not None:
            with suppress(sqlite3.Error):  # a rollback that a full disk refuses; the next one to open the file does it
                connection.close()

    def leave_to_parent(self) -> None:
        """In a child: forget it. The engine has cut it, where it is one to a server."""
        if self.is_file and self._opened_by is not None and isinstance(self._opened_by.pool, FilePool):
            self._opened_by.pool.is_shared = True  # it was in use
        keep_for_ever(self._pooled, self._connection)
        self.is_used = False
        self._pooled = self._connection = self._former = None

    def _open(self) -> None:
        engine = self._opened_by = self._engine()
        pooled = engine.raw_connection()
        if engine.dialect.name == "sqlite":
            pooled.close()  # the pool has looked whether this process may use the file at all
            self._connection = sqlite3.connect(str(engine.url.database), check_same_thread=False)
        else:
            self._pooled, self._connection = pooled, pooled.driver_connection
        try:
            with nullcontext() if self.is_file else self._bounded(self._connection):
                self._former = self._prepare(self._connection, self._former)
        except BaseException:
            self.drop()
            raise
