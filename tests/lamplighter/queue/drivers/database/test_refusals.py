"""What a database refuses is told with what to do; what passes by is waited for."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql  # type: ignore[import-untyped]
import pytest
from sqlalchemy import make_url, text

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import ConfigError, QueueError, Unavailable
from lamplighter.queue.drivers.database import sqlite as sqlite_module
from lamplighter.queue.drivers.database.refusals import refusal
from lamplighter.queue.drivers.database.reservation import Reservation
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Lease
from tests.lamplighter.queue.drivers.database.conftest import POSTGRESQL, SERVERS, MakeStore, as_root, url_of

ONLY_SQLITE = pytest.mark.parametrize("kind", ["sqlite"])


def limited(error: sqlite3.Error, code: int) -> sqlite3.Error:
    """An error as SQLite raises it."""
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (psycopg.errors.DiskFull("could not extend file"), "make room"),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE"), "may write"),
        (psycopg.errors.InsufficientPrivilege("permission denied for table jobs"), "GRANT"),
        (pymysql.err.OperationalError(1114, "The table 'jobs' is full"), "make room"),
        (pymysql.err.OperationalError(1290, "running with --read-only"), "may write"),
        (pymysql.err.OperationalError(1142, "UPDATE command denied"), "GRANT"),
        (limited(sqlite3.OperationalError("database or disk is full"), 13), "make room"),
        (limited(sqlite3.OperationalError("attempt to write a readonly database"), 8), "rights"),
        (limited(sqlite3.DatabaseError("file is not a database"), 26), "config/database.py"),
    ],
)
def test_a_refusal_says_what_to_do(error: Exception, words: str) -> None:
    told = refusal(error, table="jobs", connection="database")

    assert type(told) is QueueError
    assert words in str(told)
    assert "'database'" in str(told)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.DeadlockDetected("deadlock detected"),
        psycopg.errors.SerializationFailure("could not serialize"),
        psycopg.errors.AdminShutdown("terminating connection"),
        pymysql.err.OperationalError(1213, "Deadlock found"),
        pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"),
        pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query"),
        limited(sqlite3.OperationalError("database is locked"), 5),
    ],
)
def test_what_passes_by_is_waited_for(error: Exception) -> None:
    assert type(refusal(error, table="jobs", connection="database")) is Unavailable


def test_a_driver_that_says_nothing_of_a_connection_that_is_gone_is_waited_for() -> None:
    error = pymysql.err.InterfaceError(0, "")

    assert type(refusal(error, table="jobs", connection="database", is_broken=True)) is Unavailable


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_away_is_told_without_its_password(options: dict[str, Any]) -> None:
    options = {"driver": options["driver"], "host": "127.0.0.1", "port": 1, "username": "me", "password": "s3cret"}
    manager = DatabaseManager(Repository({"database": {"default": "m", "connections": {"m": options}}}), Path)
    store = DatabaseStore(manager, "database", database=None, table="jobs", seconds=90)
    calls: list[Callable[[], object]] = [
        lambda: store.push("default", [Message(b"1")], 0),
        lambda: store.take(("default",), 1, ()),
        lambda: store.sizes("default"),
        lambda: store.clear("default"),
    ]

    for call in calls:
        with pytest.raises(Unavailable, match="'database'") as caught:
            call()
        assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    store.close()


LOCKS_OUT = {
    "postgresql": ("CREATE ROLE {} SUPERUSER LOGIN", "ALTER ROLE {} NOLOGIN", "DROP ROLE {}"),
    "mysql": ("CREATE USER {0}", "ALTER USER {0} ACCOUNT LOCK", "DROP USER {0}"),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_user_who_may_not_log_in_any_more_is_no_server_that_is_away(
    databases: DatabaseManager, make_databases: Callable[..., DatabaseManager], kind: str
) -> None:
    user = f"ann_{uuid.uuid4().hex[:8]}"
    make, lock, drop = (statement.format(user) for statement in LOCKS_OUT[kind])
    run = as_root if kind == "mysql" else lambda statement: _run(databases, statement)
    run(make)
    run(lock)
    url = make_url(url_of(kind)).set(username=user).render_as_string(hide_password=False)
    store = DatabaseStore(make_databases(url=url), "database", database=None, table="jobs", seconds=90)
    lease = Lease("default", b"1", Reservation(1, 1, 1, 1))
    calls: list[Callable[[], object]] = [
        lambda: store.push("default", [Message(b"1")], 0),
        lambda: store.take(("default",), 1, ()),
        lambda: store.renew([lease]),
        lambda: store.sizes("default"),
    ]

    try:
        for call in calls:
            with pytest.raises(QueueError) as caught:
                call()
            assert not isinstance(caught.value, Unavailable)
    finally:
        run(drop)


def _run(databases: DatabaseManager, statement: str) -> None:
    with databases.engine().begin() as connection:
        connection.execute(text(statement))


@ONLY_SQLITE
def test_a_file_that_is_locked_is_waited_for_and_asked_again(
    make_store: MakeStore, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "PATIENCE", 0.1)
    store = make_store()
    store.push("default", [Message(b"1")], 0)
    with closing(sqlite3.connect(options["database"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(Unavailable, match="locked"):
            store.take(("default",), 1, ())

        other.execute("ROLLBACK")
    assert len(store.take(("default",), 1, ()).leases) == 1


@ONLY_SQLITE
def test_a_database_in_memory_is_refused(make_databases: Callable[..., DatabaseManager]) -> None:
    with pytest.raises(ConfigError, match="memory"):
        DatabaseStore(make_databases(database=":memory:"), "database", database=None, table="jobs", seconds=90)


@pytest.fixture
def read_only(databases: DatabaseManager, table: str) -> Iterator[None]:
    """The database of the tests takes no change."""
    with databases.engine().begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    yield
    with databases.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))


@pytest.mark.parametrize("kind", POSTGRESQL)
def test_a_server_that_takes_no_change_is_told(make_store: MakeStore, read_only: None) -> None:
    store = make_store()

    with pytest.raises(QueueError, match="may write") as pushed:
        store.push("default", [Message(b"1")], 0)
    with pytest.raises(QueueError, match="may write") as taken:
        store.take(("default",), 1, ())

    assert not isinstance(pushed.value, Unavailable)
    assert not isinstance(taken.value, Unavailable)
