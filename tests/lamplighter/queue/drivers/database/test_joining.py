"""Jobs that are pushed in the transaction of the job that pushes them."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from lamplighter.container import Container
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.joining import session_of
from lamplighter.queue.drivers.database.store import DatabaseStore
from tests.lamplighter.queue.drivers.database.conftest import SERVERS

Rows = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def app(databases: DatabaseManager) -> Iterator[Container]:
    """A container that gives each job its session."""
    app = Container()
    app.scoped(Session, databases.session, end=lambda session: session.close())
    yield app
    app.end_scope()


@pytest.fixture
def store(databases: DatabaseManager, table: str, app: Container) -> Iterator[DatabaseStore]:
    """A store that joins the session of the job that runs."""
    store = DatabaseStore(
        databases,
        "database",
        database=None,
        table=table,
        seconds=90,
        joined=lambda engine: session_of(app, engine),  # type: ignore[arg-type]  # a container is enough
    )
    yield store
    store.close()


def begin(app: Container, table: str) -> Session:
    """A job uses its session."""
    session: Session = app.make(Session)
    session.execute(text(f"SELECT COUNT(*) FROM {table}"))
    return session


def test_a_job_is_there_when_the_transaction_is_committed(
    store: DatabaseStore, app: Container, table: str, rows: Rows
) -> None:
    session = begin(app, table)
    store.push("default", [Message(b"1"), Message(b"2")], 0)
    store.push("default", [Message(b"3")], 60)
    seen_here = session.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar()

    session.commit()

    assert seen_here == 3
    assert [row["payload"] for row in rows()] == ["1", "2", "3"]


SETTINGS = {
    "postgresql": "SELECT name, setting FROM pg_settings WHERE name <> 'transaction_isolation' ORDER BY name",
    "mysql": "SHOW SESSION VARIABLES WHERE Variable_name NOT REGEXP 'stamp|seed|identity|_id|gtid|in_trans'",
}


@pytest.mark.parametrize("kind", SERVERS)
def test_the_transaction_of_the_caller_keeps_its_settings(
    store: DatabaseStore, app: Container, table: str, kind: str
) -> None:
    session = begin(app, table)
    before = session.execute(text(SETTINGS[kind])).all()

    store.push("default", [Message(b"1"), Message(b"2")], 0)
    store.push("default", [Message(b"3")], 60)

    assert session.execute(text(SETTINGS[kind])).all() == before


def test_a_job_is_gone_with_its_transaction_and_the_log_says_so(
    store: DatabaseStore, app: Container, table: str, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    begin(app, table)
    store.push("default", [Message(b"1")], 0)

    app.end_scope()

    assert rows() == []
    [record] = caplog.records
    assert "not committed" in record.getMessage()


def test_a_job_is_gone_with_its_savepoint_and_the_log_says_so(
    store: DatabaseStore, app: Container, table: str, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    session = begin(app, table)
    store.push("default", [Message(b"1")], 0)
    savepoint = session.begin_nested()
    store.push("default", [Message(b"2")], 0)
    store.push("default", [Message(b"3")], 0)
    savepoint.rollback()
    with session.begin_nested():
        store.push("default", [Message(b"4")], 0)

    session.commit()

    assert [row["payload"] for row in rows()] == ["1", "4"]
    assert [(record.getMessage()[:31], vars(record)["pushes"]) for record in caplog.records] == [
        ("a transaction was not committed", 2)
    ]


def test_a_savepoint_that_was_released_is_gone_with_its_transaction(
    store: DatabaseStore, app: Container, table: str, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    session = begin(app, table)
    store.push("default", [Message(b"1")], 0)
    with session.begin_nested(), session.begin_nested():
        store.push("default", [Message(b"2")], 0)

    session.rollback()

    assert rows() == []
    assert [vars(record)["pushes"] for record in caplog.records] == [2]


def test_what_was_committed_is_not_lamented(
    store: DatabaseStore, app: Container, table: str, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    session = begin(app, table)
    store.push("default", [Message(b"1")], 0)
    session.commit()

    begin(app, table)
    app.end_scope()

    assert [row["payload"] for row in rows()] == ["1"]
    assert caplog.records == []


def test_without_a_transaction_a_job_is_there_at_once(
    store: DatabaseStore, app: Container, table: str, rows: Rows
) -> None:
    store.push("default", [Message(b"1")], 0)
    begin(app, table).commit()
    store.push("default", [Message(b"2")], 0)

    assert [row["payload"] for row in rows()] == ["1", "2"]
