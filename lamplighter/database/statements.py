"""Single statements, each of which is a transaction by itself."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from lamplighter.contracts import Databases
from lamplighter.database.pool import FilePool, has_moved
from lamplighter.support.immortal import keep_for_ever

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
            return _opened(engine)
        kept = self._kept
        if kept is None or kept.engine is not engine or kept.is_over or kept.has_moved:
            self.close()
            kept = self._kept = Kept(engine)
        return kept

    def close(self) -> None:
        """Give back what is kept."""
        kept, self._kept = self._kept, None
        if kept is not None and not kept.is_over:
            kept.close()

    def let_go(self) -> None:
        """Give back what is kept of a file, unless it is in use; before a fork, from any thread."""
        if self._kept is not None:
            self._kept.let_go()

    def begin_as_child(self) -> None:
        """What is kept is the parent's."""
        keep_for_ever(self._kept)
        self._kept = None


class Kept:
    """A connection that stays open from one `with` to the next, unless one has ended with an error.

    Before a fork another thread may take a file's connection away. Each of the two first says what it does, and looks
    then: the one that it is in use, the other that it has to go, so that at least one sees the other.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_over = False
        self._is_used = False
        self._has_to_go = False
        self._connection = _open(engine)
        self._driver_connection = self._connection.connection.driver_connection

    @property
    def has_moved(self) -> bool:
        """Whether it is to a file that is not at its path any more."""
        return has_moved(self._driver_connection)

    def __enter__(self) -> Connection:
        self._is_used = True
        if self._has_to_go:
            self._open_again()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._commit()
            else:
                self.close()
        finally:
            self._is_used = False

    def _commit(self) -> None:
        """Each statement is committed; this ends the transaction that SQLAlchemy sees, and looks after a file."""
        try:
            self._connection.commit()
        except DBAPIError:
            self.close()
            raise

    def let_go(self) -> None:
        """Close the connection to a file, unless it is in use; it is opened again when it is needed."""
        if isinstance(self.engine.pool, FilePool):
            self._has_to_go = True
            if not self._is_used:
                self._connection.close()

    def _open_again(self) -> None:
        pool = self.engine.pool
        assert isinstance(pool, FilePool)  # no other has to go
        with pool.gate:  # which is held until the fork is over
            self._has_to_go = False
            self._connection.close()
            self._connection = _open(self.engine)
            self._driver_connection = self._connection.connection.driver_connection

    def close(self) -> None:
        """Give it back to the pool, which looks whether it still works."""
        self.is_over = True
        self._connection.close()


def _open(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def _opened(engine: Engine) -> Iterator[Connection]:
    with _open(engine) as connection:
        yield connection
        connection.commit()
