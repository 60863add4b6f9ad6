"""Rows in the database: whose times they have, who waits for whom, and what an answer holds open."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.event import listen
from sqlalchemy.exc import DatabaseError

from app.Services.answers import Answers
from app.Services.rows import Create
from app.Services.tables import TABLES
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.model import Model
from lamplighter.errors import MessageTooLarge
from tests.app.conftest import DataStore

STORE, UPDATE, GET = "job.data.store", "job.data.update", "job.data.get"
PROVIDER = {"name": "Harbour Trust"}
LONG_AGO = "2001-02-03 04:05:06"
# Who may look at what is open on MySQL has more rights than an application.
WITH_OPEN_SEEN = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


def create(store: DataStore, key: str = "p1", **values: Any) -> Any:
    """A provider."""
    return store.send(STORE, {"type": "provider", "values": {**PROVIDER, **values}}, key).data["data"]


def update(store: DataStore, **values: Any) -> Any:
    """A change of the provider p1."""
    return store.send(UPDATE, {"type": "provider", "id": "p1", "values": values}, "k").data["data"]


def make_old(store: DataStore) -> None:
    """Let the providers have been written long ago."""
    with store.databases.engine().begin() as connection:
        connection.execute(text(f"UPDATE provider SET created = '{LONG_AGO}', updated = '{LONG_AGO}'"))


def open_transactions(engine: Engine) -> int:
    """How many are seen from outside; on SQLite whether there is one."""
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database), timeout=0)) as other:
            (is_busy, _, _) = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return int(is_busy)
    with engine.connect() as other_one:
        own = "datname = current_database() AND pid <> pg_backend_pid()"
        return int(
            other_one.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {own} AND state LIKE 'idle in%'")) or 0
        )


# times ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("zone", "hours"), [("Pacific/Kiritimati", 14), ("Etc/GMT+12", -12)])
def test_times_are_the_applications(databases: DatabaseManager, zone: str, hours: int) -> None:
    store = DataStore(databases, zone=zone)

    row = create(store)

    behind = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=hours) - datetime.fromisoformat(row["created"])
    assert timedelta(0) <= behind < timedelta(minutes=1)
    again = store.send(GET, {"type": "provider", "queryType": "select", "id": "p1"}, "k").data["data"]
    assert again == {**row, "type": "provider"}


@pytest.mark.parametrize("act", [lambda store: create(store, "p2"), lambda store: update(store, name="Other")])
def test_a_row_costs_one_statement_and_none_to_look_at_it(store: DataStore, act: Callable[[DataStore], Any]) -> None:
    create(store)
    said: list[str] = []
    listen(store.databases.engine(), "before_cursor_execute", lambda *call: said.append(call[2]))

    act(store)

    # MySQL gives nothing back of what was written.
    assert len(said) == (2 if store.databases.engine().dialect.name == "mysql" else 1)


def test_a_database_that_returns_nothing_of_an_update_is_asked(
    store: DataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(store)
    monkeypatch.setattr(store.databases.engine().dialect, "update_returning", False)

    row = update(store, name="Other")
    none = store.send(UPDATE, {"type": "provider", "id": "p9", "values": PROVIDER}, "k").data["code"]

    assert (row["id"], row["name"], none) == ("p1", "Other", 404)


def test_an_update_to_the_same_value_touches_updated_alone(store: DataStore) -> None:
    create(store)
    make_old(store)

    row = update(store, **PROVIDER)

    assert row["created"] == LONG_AGO
    assert row["updated"] > LONG_AGO


@pytest.mark.parametrize("values", [{"id": "p9", "created": "x", "updated": 7}, {"unknown": "x"}, {}])
def test_an_update_that_names_only_what_no_client_sets_touches_nothing(
    store: DataStore, values: dict[str, Any]
) -> None:
    create(store)
    make_old(store)

    row = update(store, **values)

    assert (row["id"], row["created"], row["updated"]) == ("p1", LONG_AGO, LONG_AGO)


def test_a_time_that_the_zone_does_not_have_is_the_present(databases: DatabaseManager) -> None:
    store = DataStore(databases, zone="Pacific/Kiritimati")
    rows = store.table_rows.as_of(datetime(9999, 12, 31, 23, tzinfo=UTC))

    row = rows.create(Create(TABLES["provider"], {"id": "p1"}, {**PROVIDER, "published": False, "flagged": False}))

    assert "2026" <= row["created"] < "9999"


# pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(store: DataStore, count: int, text: str) -> list[str]:
    """So many rows; their ids in order."""
    ids = [f"c{number:03}" for number in range(count)]
    store.table_rows.create_many([Create(TABLES["costoption"], {"id": id}, {"option": text}) for id in ids])
    return ids


@pytest.mark.parametrize(("limit", "statements"), [(1, 1), (50, 1), (100, 1), (101, 2), (249, 3), (250, 3), (500, 3)])
def test_a_long_page_is_read_by_several_statements(store: DataStore, limit: int, statements: int) -> None:
    ids = fill(store, 250, "Free")
    said: list[str] = []
    listen(store.databases.engine(), "before_cursor_execute", lambda *call: said.append(call[2]))

    page = store.table_rows.page(TABLES["costoption"], after=None, limit=limit)

    assert [row["id"] for row in page] == ids[:limit]
    assert len(said) == statements


def test_no_more_of_a_page_is_read_than_an_answer_may_hold(store: DataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(store, 250, "x" * 1000)
    monkeypatch.setattr("app.Services.rows.MAX_BYTES", 70_000)

    page = store.table_rows.page(TABLES["costoption"], after=("c001",), limit=500)

    assert [row["id"] for row in page] == ids[2:102]


@pytest.mark.mysql
@pytest.mark.parametrize("databases", ["mysql"], indirect=True)
def test_what_a_database_can_not_store_is_not_stored_as_something_else(databases: DatabaseManager) -> None:
    with databases.engine().begin() as connection:
        connection.execute(text("ALTER TABLE taxonomy MODIFY name VARCHAR(255) CHARACTER SET latin1 NOT NULL"))
    store = DataStore(databases)
    word = {"type": "taxonomy", "values": {"name": "Food"}}

    with pytest.raises(DatabaseError, match="Incorrect string value"):
        store.send(STORE, {"type": "taxonomy", "values": {"name": "😀"}}, "t1")
    answers = [store.send(STORE, {"type": "taxonomy", "values": {"name": name}}, "t2") for name in ("Food", "Drink")]
    many = store.send_many(STORE, (word, "t3"), ({"type": "taxonomy", "values": {"name": "Drink"}}, "t2"))

    assert [answer.data["data"] for answer in answers] == [{"id": "t2", "name": "Food"}] * 2
    assert [answer.data["data"]["id"] for answer in many] == ["t3", "t2"]
    assert [(row["id"], row["name"]) for row in store.rows("taxonomy")] == [("t2", "Food"), ("t3", "Food")]


# at the same time ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_creates_of_one_id_at_once_are_all_answered_with_the_first_row(databases: DatabaseManager) -> None:
    stores = [DataStore(databases) for _ in range(4)]
    barrier = threading.Barrier(len(stores))
    found = []

    def insert(number: int) -> None:
        for key in ("a", "b", "c", "d", "e"):
            barrier.wait(30)
            found.append((key, create(stores[number], key, name=f"of {number}")["name"]))

    threads = [threading.Thread(target=insert, args=[number]) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 20
    assert len(set(found)) == 5  # one name for each key
    assert {(row["id"], row["name"]) for row in stores[0].rows("provider")} == set(found)


@pytest.mark.postgresql
@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_a_create_waits_for_another_that_has_not_committed(databases: DatabaseManager) -> None:
    store = DataStore(databases)
    with databases.engine().connect() as other:
        other.execute(text("INSERT INTO taxonomy VALUES ('t1', 'the first')"))
        answers: list[Any] = []
        values = {"type": "taxonomy", "values": {"name": "the second"}}
        thread = threading.Thread(target=lambda: answers.append(store.send(STORE, values, "t1")))
        thread.start()
        with databases.engine().connect() as watcher:
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            while thread.is_alive() and not watcher.scalar(waiting):
                watcher.rollback()
        is_waiting = thread.is_alive()
        other.commit()
        thread.join(30)

    assert is_waiting
    assert (answers[0].data["code"], answers[0].data["data"]["name"]) == (200, "the first")


@pytest.mark.parametrize("query", [{"queryType": "select", "id": "p1"}, {"queryType": "index"}])
def test_a_query_waits_for_no_writer(store: DataStore, query: dict[str, Any]) -> None:
    create(store)
    with store.databases.engine().begin() as writer:
        writer.execute(text("UPDATE provider SET name = 'not committed'"))

        answer = store.send(GET, {"type": "provider", **query}, "k")

    row = answer.data["data"] if query["queryType"] == "select" else answer.data["data"][0]
    assert row["name"] == PROVIDER["name"]


@pytest.mark.parametrize("databases", WITH_OPEN_SEEN, indirect=True)
@pytest.mark.parametrize(
    ("job", "data"),
    [
        (STORE, {"values": PROVIDER}),
        (UPDATE, {"id": "p1", "values": PROVIDER}),
        (UPDATE, {"id": "nobody", "values": PROVIDER}),
        (GET, {"queryType": "select", "id": "p1"}),
        (GET, {"queryType": "select", "id": "nobody"}),
        (GET, {}),
        (GET, {"after": "z"}),
    ],
)
def test_no_transaction_is_open_while_the_broker_is_waited_for(
    store: DataStore, monkeypatch: pytest.MonkeyPatch, job: str, data: dict[str, Any]
) -> None:
    create(store)
    held = []
    push = Answers._push

    def look_and_push(*given: Any, **named: Any) -> MessageTooLarge | None:
        held.append(open_transactions(store.databases.engine()))
        return push(*given, **named)

    monkeypatch.setattr(Answers, "_push", look_and_push)

    store.send(job, {"type": "provider", **data}, "p1")

    assert held == [0]


def test_a_job_that_fails_gives_its_connection_back(store: DataStore) -> None:
    with store.databases.engine().begin() as connection:
        connection.execute(text("DROP TABLE provider"))

    with pytest.raises(DatabaseError):
        create(store)

    pool: Any = store.databases.engine().pool
    assert pool.checkedout() == 0


@pytest.mark.parametrize("databases", WITH_OPEN_SEEN, indirect=True)
def test_one_open_transaction_is_seen(databases: DatabaseManager) -> None:
    with databases.engine().connect() as connection:
        connection.execute(text("SELECT * FROM provider"))

        assert open_transactions(databases.engine()) == 1


# what the tables are ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_models_are_what_the_migrations_make(databases: DatabaseManager) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with databases.engine().connect() as connection:
        # The columns of MySQL are wider than what its models name: a text there has 64 kB.
        has_variants = connection.dialect.name == "mysql"
        context = MigrationContext.configure(connection, opts={"compare_type": not has_variants})
        differences = compare_metadata(context, Model.metadata)

    # The tables of the framework have no models.
    assert [each for each in differences if each[0] not in ("remove_table", "remove_index", "remove_constraint")] == []
