"""Single statements, each of which is a transaction by itself."""

import os
import threading
from contextlib import AbstractContextManager
from types import TracebackType

from sqlalchemy import Connection, Engine

from lamplighter.contracts import Databases

# Those that are told so without a round trip.
AUTOCOMMITTING = ("postgresql", "sqlite")


class Statements:
    """Connections of one database for single statements.

    The main thread, in which a worker without slots and each process slot run their jobs, keeps its connection, since
    taking one from the pool costs about as much as an insert on SQLite; other threads take theirs from the pool.
    PostgreSQL is spared BEGIN and COMMIT, two round trips of three. On SQLite a reader neither waits for the one
    writer nor keeps others from writing.
    """

    def __init__(self, databases: Databases, database: str) -> None:
        self._databases = databases
        self._database = database
        self._kept: Kept | None = None
        self._inherited: list[Kept] = []

    @property
    def engine(self) -> Engine:
        """For what is more than one statement."""
        engine: Engine = self._databases.engine(self._database)
        return engine

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection on which each statement is committed when it has run, until the end of a `with`."""
        engine = self.engine
        if engine.dialect.name not in AUTOCOMMITTING:
            return engine.begin()
        if threading.get_ident() != threading.main_thread().ident:
            return _open(engine)
        kept = self._kept
        if kept is None or kept.engine is not engine or kept.is_over:
            self.close()
            kept = self._kept = Kept(engine)
        return kept

    def close(self) -> None:
        """Give back what is kept."""
        kept, self._kept = self._kept, None
        if kept is None or kept.is_over:
            return
        if kept.pid == os.getpid():
            kept.close()
        else:
            self._inherited.append(kept)  # a parent's: neither to be used by a child, nor to be closed by it


class Kept:
    """A connection that stays open from one `with` to the next, unless one has ended with an error."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pid = os.getpid()
        self.is_over = False
        self._connection = _open(engine)

    def __enter__(self) -> Connection:
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._connection.commit()  # the statement is; this ends the transaction that SQLAlchemy sees
        else:
            self.close()

    def close(self) -> None:
        """Give it back to the pool, which looks whether it still works."""
        self.is_over = True
        self._connection.close()


def _open(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")
