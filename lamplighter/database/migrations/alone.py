"""One run of migrations at a time on one database, however many machines deploy at once."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from lamplighter.errors import MigrationError

WAIT = 600.0  # seconds that a run waits for another
PAUSE = 0.1  # seconds between two looks whether it has ended
LOCK = 0x6C616D70  # PostgreSQL's advisory lock, one in each database: "lamp"
SUFFIX = "-migrating"  # of the file beside SQLite's, which is there while a run is

# A server's lock is held by a session of its own, since a run may end its transaction before it ends itself. A lock
# that dies with its process leaves nothing to clean up. No statement waits for it inside the server: CREATE INDEX
# CONCURRENTLY waits for all statements that began before it, and one of them could be waiting for this lock.
POSTGRESQL = text(f"SELECT pg_try_advisory_xact_lock({LOCK})")
# A name has 64 characters at most. MySQL 9.6 has no MD5 any more.
MYSQL = text("SELECT GET_LOCK(CONCAT('lamplighter.', LEFT(SHA2(DATABASE(), 256), 32)), 0)")

Try = Callable[[], bool]


@contextmanager
def alone(engine: Engine, warn: Callable[[str], object]) -> Iterator[None]:
    """Wait until no other run is on this database, and keep others out; `warn` is told of the waiting.

    Raises:
        MigrationError: another run did not end in time.
    """
    with _lock(engine) as is_taken:
        end = time.monotonic() + WAIT
        is_told = False
        while not is_taken():
            if time.monotonic() >= end:
                raise MigrationError(
                    f"Another run of migrations has been on this database for {WAIT:.0f} seconds. "
                    "Look whether it still works; this one has changed nothing, and can be run again."
                )
            if not is_told:
                warn("Another run of migrations is on this database: waiting for its end.")
                is_told = True
            time.sleep(PAUSE)
        yield


def _lock(engine: Engine) -> AbstractContextManager[Try]:
    name, database = engine.dialect.name, engine.url.database
    if name == "postgresql":
        return _postgresql(engine)
    if name in ("mysql", "mariadb"):
        return _mysql(engine)
    if name == "sqlite" and database and database != ":memory:" and not database.startswith("file:"):
        # Each release may have a link of its own to the one database.
        return _file(Path(f"{Path(database).resolve()}{SUFFIX}"))
    return _none()


@contextmanager
def _none() -> Iterator[Try]:
    yield lambda: True


@contextmanager
def _postgresql(engine: Engine) -> Iterator[Try]:
    # A repeatable read would keep its snapshot, and CREATE INDEX CONCURRENTLY wait for its end.
    with _session(engine, "READ COMMITTED") as connection:

        def take() -> bool:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            if connection.scalar(POSTGRESQL):
                return True
            connection.rollback()
            return False

        yield take


@contextmanager
def _mysql(engine: Engine) -> Iterator[Try]:
    with _session(engine, "AUTOCOMMIT") as connection:
        connection.execute(text("SET SESSION wait_timeout = 604800"))  # a week: it is idle while the run works
        yield lambda: connection.scalar(MYSQL) == 1


@contextmanager
def _session(engine: Engine, level: str) -> Iterator[Connection]:
    """A connection that is closed at its end instead of given back, so that what it holds goes with it."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level=level)
        connection.detach()
        yield connection


@contextmanager
def _file(path: Path) -> Iterator[Try]:
    taken: list[int] = []

    def take() -> bool:
        try:
            # A pipe that somebody has put there would be waited for until somebody writes into it.
            handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            if _has(handle, path):
                taken.append(handle)
                return True
            os.close(handle)
        except OSError as error:
            raise MigrationError(
                f"{path} can't be made and locked, to keep other runs out: {error.strerror}."
            ) from error
        return False

    try:
        yield take
    finally:
        for handle in taken:
            path.unlink(missing_ok=True)
            os.close(handle)


def _has(handle: int, path: Path) -> bool:
    """Lock a file at once, unless another has; and not one that its last owner has just removed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
