"""A lost connection, a deadlock and all other errors, told apart."""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, ProgrammingError, TimeoutError
from sqlalchemy.orm import Session

from lamplighter.database.errors import SqlAlchemyErrors

ROOT = Path(__file__).parents[3]


class DriverError(Exception):
    """What a driver raises, as far as it is looked at."""

    def __init__(self, *arguments: object, sqlstate: str | None = None) -> None:
        super().__init__(*arguments)
        self.sqlstate = sqlstate


DriverError.__module__ = "psycopg"
DriverError.__name__ = "OperationalError"
FATAL = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '


def wrapped(*arguments: object, sqlstate: str | None = None) -> DBAPIError:
    """A driver's error as SQLAlchemy hands it on."""
    return OperationalError("SELECT 1", {}, DriverError(*arguments, sqlstate=sqlstate))


def caused(error: BaseException, *, by: BaseException) -> BaseException:
    """An error that was raised `from` another."""
    error.__cause__ = by
    return error


def during(error: BaseException, other: BaseException, *, is_hidden: bool = False) -> BaseException:
    """An error that was raised while another was handled."""
    error.__context__, error.__suppress_context__ = other, is_hidden
    return error


REFUSED = 'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'
SHUTDOWN = wrapped("terminating connection due to administrator command", sqlstate="57P01")


@pytest.mark.parametrize(
    "error",
    [
        wrapped(REFUSED),
        wrapped("failed to resolve host 'postgres': [Errno -2] Name or service not known"),
        wrapped("connection timeout expired"),
        wrapped(FATAL + "the database system is starting up"),
        wrapped(FATAL + "das Datenbanksystem startet"),
        SHUTDOWN,
        wrapped("", sqlstate="57P03"),
        wrapped("", sqlstate="08006"),
        OperationalError("SELECT 1", {}, DriverError("broken"), connection_invalidated=True),
        wrapped(2006, "MySQL server has gone away"),
        wrapped(2013, "Lost connection to MySQL server during query"),
        wrapped(2003, "Can't connect to MySQL server"),
        wrapped(FATAL + 'too many connections for role "ann"'),
        wrapped("sorry, too many clients already", sqlstate="53300"),
        wrapped(1040, "Too many connections"),
        wrapped(1203, "User ann already has more than 'max_user_connections' active connections"),
        wrapped(1226, "User 'ann' has exceeded the 'max_user_connections' resource (current value: 1)"),
        wrapped(1226, "User has exceeded the 'max_user_connections' resource", sqlstate="42000"),
        wrapped(4031, "The client was disconnected by the server because of inactivity"),
        TimeoutError("QueuePool limit of size 5 overflow 10 reached"),
        DriverError(REFUSED),
        caused(ValueError("no provider"), by=SHUTDOWN),
        during(KeyError("x"), caused(ValueError("no provider"), by=SHUTDOWN)),
    ],
)
def test_a_database_that_can_not_be_reached_is_lost(error: BaseException) -> None:
    assert SqlAlchemyErrors().is_lost_connection(error)
    assert not SqlAlchemyErrors().is_deadlock(error)


@pytest.mark.parametrize(
    "error",
    [
        wrapped(FATAL + 'password authentication failed for user "ann"'),
        wrapped(FATAL + 'database "shop" does not exist'),
        wrapped(FATAL + 'role "ann" does not exist'),
        wrapped(FATAL + 'no pg_hba.conf entry for host "10.0.0.1"'),
        wrapped(FATAL + 'role "ann" is not permitted to log in'),
        wrapped(FATAL + 'database "shop" is not currently accepting connections'),
        wrapped(FATAL + 'permission denied for database "shop"'),
        wrapped("column connection refused does not exist", sqlstate="42703"),
        ProgrammingError("SELECT 1", {}, DriverError("connection refused", sqlstate="42601")),
        wrapped("canceling statement due to statement timeout", sqlstate="57014"),
        wrapped(1045, "Access denied for user"),
        OperationalError("SELECT 1", {}, sqlite3.OperationalError("unable to open database file")),
        ConnectionRefusedError("connection refused"),
        FileNotFoundError("connection failed"),
        during(ValueError("bad"), SHUTDOWN, is_hidden=True),
    ],
)
def test_what_no_waiting_helps_is_neither_lost_nor_a_deadlock(error: BaseException) -> None:
    assert not SqlAlchemyErrors().is_lost_connection(error)
    assert not SqlAlchemyErrors().is_deadlock(error)


@pytest.mark.parametrize(
    "error",
    [
        wrapped("deadlock detected", sqlstate="40P01"),
        wrapped("could not serialize access", sqlstate="40001"),
        wrapped(1213, "Deadlock found when trying to get lock"),
        wrapped(1205, "Lock wait timeout exceeded"),
        wrapped("canceling statement due to lock timeout", sqlstate="55P03"),
        caused(ValueError("no provider"), by=wrapped("deadlock detected", sqlstate="40P01")),
    ],
)
def test_transactions_in_each_others_way_are_a_deadlock(error: BaseException) -> None:
    assert SqlAlchemyErrors().is_deadlock(error)
    assert not SqlAlchemyErrors().is_lost_connection(error)


def test_a_locked_sqlite_is_a_deadlock_and_not_lost(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/test.sqlite", connect_args={"timeout": 0})
    with sqlite3.connect(tmp_path / "test.sqlite") as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (a INTEGER)"))
    other.close()
    engine.dispose()

    assert SqlAlchemyErrors().is_deadlock(caught.value)
    assert not SqlAlchemyErrors().is_lost_connection(caught.value)


def test_errors_in_a_circle_come_to_an_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first

    assert not SqlAlchemyErrors().is_lost_connection(first)


def test_asking_imports_nothing() -> None:
    program = (
        "import sys; from lamplighter.database.errors import SqlAlchemyErrors as E;"
        "print(E().is_lost_connection(ValueError()), E().is_deadlock(OSError()), 'sqlalchemy' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False", "False"]


def test_a_port_where_nobody_listens_is_lost() -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    assert psycopg
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        engine = create_engine(f"postgresql+psycopg://ann@127.0.0.1:{free.getsockname()[1]}/shop")

        with pytest.raises(DBAPIError) as caught:
            engine.connect()

    assert SqlAlchemyErrors().is_lost_connection(caught.value)


@pytest.fixture
def server() -> Iterator[Engine]:
    """A real PostgreSQL."""
    url = os.environ.get("POSTGRES_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
        pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


@pytest.mark.postgresql
def test_a_connection_that_postgresql_ended_is_lost(server: Engine) -> None:
    with server.connect() as connection, server.connect() as killer:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

        with pytest.raises(DBAPIError) as caught:
            connection.execute(text("SELECT 1"))

    assert SqlAlchemyErrors().is_lost_connection(caught.value)


@pytest.mark.postgresql
def test_a_job_that_swallowed_the_loss_has_lost_its_connection_still(server: Engine) -> None:
    with Session(server) as session, server.connect() as killer:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with suppress(DBAPIError):
            session.execute(text("SELECT 1"))

        with pytest.raises(PendingRollbackError) as caught:
            session.execute(text("SELECT 1"))

    assert SqlAlchemyErrors().is_lost_connection(caught.value)


@pytest.mark.postgresql
def test_transactions_that_postgresql_found_in_each_others_way_are_a_deadlock(server: Engine) -> None:
    barrier = threading.Barrier(2)
    errors: list[DBAPIError] = []

    def lock(*numbers: int) -> None:
        with suppress(threading.BrokenBarrierError), server.begin() as connection:
            for number in numbers:
                try:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
                except DBAPIError as error:
                    errors.append(error)
                    return
                if number == numbers[0]:
                    barrier.wait(10)

    threads = [threading.Thread(target=lock, args=numbers) for numbers in ((71, 72), (72, 71))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [SqlAlchemyErrors().is_deadlock(error) for error in errors] == [True]


@pytest.mark.postgresql
def test_a_database_that_postgresql_does_not_have_is_not_lost(server: Engine) -> None:
    engine = create_engine(server.url.set(database="no_such_database"))

    with pytest.raises(DBAPIError) as caught:
        engine.connect()

    assert not SqlAlchemyErrors().is_lost_connection(caught.value)
