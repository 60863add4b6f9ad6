"""The connections of an engine when the process is forked: a child neither uses nor closes those of its parent."""

import os
import socket
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from lamplighter.database.pool import FilePool, ServerPool, is_with_another_thread, user_of
from lamplighter.database.sqlite import SqliteConnection, leave_to_parent
from lamplighter.errors import ForkError
from lamplighter.support.forking import Lock
from lamplighter.support.immortal import keep_for_ever

LOOK = 0.001  # seconds between two looks whether other threads have given back what they use


class Connections:
    """What one engine has open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entries: dict[int, weakref.ref[ConnectionPoolEntry]] = {}
        event.listen(engine, "connect", self._connected)

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Who takes a connection, or makes the first one, holds these."""
        pool = self._engine.pool
        return (pool.gate,) if isinstance(pool, FilePool | ServerPool) else ()

    def before_fork(self, until: float, let_go: Callable[[], object]) -> None:
        """Close what is open of a file, when the other threads have given it back; the locks are held.

        SQLite notes in the process's memory which locks of a file it holds, and a child that opens the file would go by
        the parent's: its transactions can be lost, or never begin.

        Args:
            let_go: gives back what is kept without being used; called again and again.
        """
        if not isinstance(self._engine.pool, FilePool):
            return
        let_go()
        while any(map(is_with_another_thread, self._alive())):
            if time.monotonic() >= until:
                break
            time.sleep(LOOK)
            let_go()
        for entry in self._alive():
            if not entry.in_use:
                entry.invalidate()

    def begin_as_child(self) -> None:
        """Give the engine a new pool, and leave what is open to the parent.

        The engine stays, so that whoever has been given it goes on with it.
        """
        keep_for_ever(self._engine.pool)
        left = [entry for entry in self._alive() if entry.dbapi_connection is not None]
        for entry in left:
            self._leave(entry)
        self._entries = {}
        self._engine.dispose(close=False)
        pool = self._engine.pool
        if isinstance(pool, FilePool):
            pool.is_shared = bool(left)

    def _alive(self) -> list[ConnectionPoolEntry]:
        entries = [reference() for reference in list(self._entries.values())]
        return [entry for entry in entries if entry is not None]

    def _connected(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        number = id(entry)
        self._entries[number] = weakref.ref(entry, lambda _: self._entries.pop(number, None))

    def _leave(self, entry: ConnectionPoolEntry) -> None:
        connection: Any = entry.dbapi_connection
        user = user_of(entry)
        keep_for_ever(entry, connection, user)  # freed, the user would roll back
        if isinstance(connection, SqliteConnection):
            leave_to_parent(connection)
            return
        for place in (entry, user):
            if place is not None:
                place.dbapi_connection = ParentsConnection()
        dbapi: Any = self._engine.dialect.dbapi
        with suppress(dbapi.Error, OSError):  # it is closed
            _cut(connection)


class ParentsConnection:
    """What a connection to a server is in a child that was forked while it was open."""

    def rollback(self) -> None:
        """The parent ends its own transaction."""

    close = rollback

    def __getattr__(self, name: str) -> NoReturn:
        raise ForkError("This connection to a database was opened before the process was forked, and is the parent's.")


def _cut(connection: Any) -> None:
    """Put a socket without another end in the place of a connection's.

    Whatever is under way with it in the child fails then, and reaches no server. And the server sees the end of the
    parent, whose socket a child would keep open.
    """
    place = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
    if place is None:
        return
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        os.dup2(ours.fileno(), place.fileno(), inheritable=False)
