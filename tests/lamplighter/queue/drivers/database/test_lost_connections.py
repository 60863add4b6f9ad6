"""A connection that breaks costs no job, and no job an attempt."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.database import store as store_module
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from tests.harness import wait_for
from tests.lamplighter.queue.drivers.database.conftest import SERVERS, MakeStore, Proxy, end_others

Rows = Callable[[], list[dict[str, Any]]]

# What the commit of a start is on the line: on PostgreSQL the end of a pipeline, the message Sync.
COMMITS = {"postgresql": b"S\x00\x00\x00\x04", "mysql": b"COMMIT"}

pytestmark = pytest.mark.parametrize("kind", SERVERS)


@pytest.fixture
def worker(make_store: MakeStore, proxy: Proxy) -> DatabaseStore:
    """A worker whose line may break, with one job begun and three to come."""
    store = make_store(url=proxy.url)
    store.push("default", [Message(b"%d" % n) for n in range(4)], 0)
    return store


def take(store: DatabaseStore, ended: list[Ended], most: int = 1) -> list[Lease]:
    """Ask until the store answers."""
    until = time.monotonic() + 20
    while True:
        try:
            return list(store.take(("default",), most, ended).leases)
        except Unavailable:
            assert time.monotonic() < until


@pytest.mark.parametrize("is_heard", [True, False], ids=["answer", "question"])
@pytest.mark.parametrize("what", ["commit", "statement"])
def test_a_start_whose_answer_was_lost_is_given_out_again(
    worker: DatabaseStore, proxy: Proxy, rows: Rows, kind: str, what: str, is_heard: bool
) -> None:
    [first] = worker.take(("default",), 1, ()).leases
    ended = [Ended(first, How.DELETED)]
    if what == "statement":
        worker._own.drop()  # a new connection sends the text of each statement once
    proxy.word, proxy.is_heard = COMMITS[kind] if what == "commit" else b"jobs_", is_heard

    with pytest.raises(Unavailable):
        worker.take(("default",), 1, ended)
    [second] = take(worker, ended)

    assert (second.payload, second.retries, second.has_crashed) == (b"1", 0, False)
    assert [(row["payload"], row["attempts"]) for row in rows()] == [("1", 1), ("2", 0), ("3", 0)]
    assert list(worker.renew([second])) == []


@pytest.mark.parametrize("how", How)
def test_an_end_whose_answer_was_lost_is_told_again(worker: DatabaseStore, proxy: Proxy, rows: Rows, how: How) -> None:
    [first] = worker.take(("default",), 1, ()).leases
    ended = [Ended(first, how)]
    proxy.word = b"COMMIT"

    with pytest.raises(Unavailable):
        worker.take((), 0, ended)
    worker.take((), 0, ended)

    left = {How.DELETED: [], How.RELEASED: [1], How.EXCUSED: [0], How.GIVEN_BACK: [0]}[how]
    assert sorted(row["attempts"] for row in rows()) == sorted([0, 0, 0, *left])


def test_what_a_lost_answer_has_begun_goes_back_when_nobody_asks_for_it(
    worker: DatabaseStore, proxy: Proxy, rows: Rows, kind: str
) -> None:
    worker._own.get()
    proxy.word = COMMITS[kind]
    with pytest.raises(Unavailable):
        worker.take(("default",), 3, ())

    [first] = take(worker, [])

    assert first.payload == b"0"
    assert [(row["attempts"], row["reserved_at"] is None) for row in rows()] == [(1, False)] + [(0, True)] * 3


def test_what_a_lost_answer_has_begun_goes_back_when_the_worker_ends(
    worker: DatabaseStore, proxy: Proxy, rows: Rows, kind: str
) -> None:
    worker._own.get()
    proxy.word = COMMITS[kind]
    with pytest.raises(Unavailable):
        worker.take(("default",), 3, ())

    worker.close()

    assert [(row["attempts"], row["reserved_at"]) for row in rows()] == [(0, None)] * 4


def test_a_renewal_whose_answer_was_lost_costs_no_lease(worker: DatabaseStore, proxy: Proxy) -> None:
    [first] = worker.take(("default",), 1, ()).leases
    time.sleep(1.1)  # so that the renewal has another time
    proxy.word = b"reserved_at"

    with pytest.raises(Unavailable):
        worker.renew([first])

    assert list(worker.renew([first])) == []
    assert [lease.payload for lease in take(worker, [Ended(first, How.DELETED)], most=4)] == [b"1", b"2", b"3"]


def test_a_push_whose_answer_was_lost_says_so(worker: DatabaseStore, proxy: Proxy) -> None:
    proxy.word = b"INSERT"

    with pytest.raises(Unavailable):
        worker.push("default", [Message(b"4")], 0)
    worker.push("default", [Message(b"5")], 0)

    assert b"5" in [lease.payload for lease in take(worker, [], most=9)]


def test_connections_that_the_server_has_ended_are_made_again(
    make_store: MakeStore, databases: DatabaseManager, kind: str
) -> None:
    worker = make_store()
    worker.push("default", [Message(b"0"), Message(b"1")], 0)
    [first] = worker.take(("default",), 1, ()).leases

    end_others(databases, kind)
    [second] = take(worker, [Ended(first, How.DELETED)])
    worker.renew([second])  # which has a connection of its own
    end_others(databases, kind)
    with pytest.raises(Unavailable):
        worker.renew([second])
    assert list(worker.renew([second])) == []

    assert second.payload == b"1"
    assert second.retries == 0


def test_a_connection_that_is_ended_in_the_middle_of_a_call_is_made_again(
    make_store: MakeStore, databases: DatabaseManager, table: str, kind: str
) -> None:
    worker = make_store()
    worker.push("default", [Message(b"0"), Message(b"1")], 0)
    [first] = worker.take(("default",), 1, ()).leases

    with locked(databases, table), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(worker.take, ("default",), 1, [Ended(first, How.DELETED)])
        wait_for(lambda: asked.done() or end_whoever_waits(databases, kind, table))
        with pytest.raises(Unavailable):
            asked.result(20)

    [second] = take(worker, [Ended(first, How.DELETED)])
    assert (second.payload, second.retries) == (b"1", 0)


def end_whoever_waits(databases: DatabaseManager, kind: str, table: str) -> bool:
    """End the connections that wait for a lock of this table; whether there were any."""
    with databases.engine().connect() as connection:
        if kind == "postgresql":
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE "
            )
            return bool(connection.execute(text(f"{query}'%{table}%'")).all())
        waiting = [
            row
            for row in connection.execute(text("SHOW PROCESSLIST")).mappings()
            if "lock" in str(row["State"]).lower() and table in str(row["Info"])
        ]
        for row in waiting:
            connection.execute(text(f"KILL {row['Id']}"))
        return bool(waiting)


def test_a_server_that_says_nothing_is_left(
    make_store: MakeStore, databases: DatabaseManager, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ANSWER", 1.0)
    worker = make_store()
    worker.push("default", [Message(b"0"), Message(b"1")], 0)
    [first] = worker.take(("default",), 1, ()).leases
    began = time.monotonic()

    with locked(databases, table), pytest.raises(Unavailable):
        worker.take(("default",), 1, [Ended(first, How.DELETED)])

    assert time.monotonic() - began < 10
    assert [lease.payload for lease in take(worker, [Ended(first, How.DELETED)])] == [b"1"]


def test_a_line_that_broke_without_a_word_keeps_nothing_locked(
    make_store: MakeStore, proxy: Proxy, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ANSWER", 1.0)
    worker = make_store(url=proxy.url)
    worker.push("default", [Message(b"0"), Message(b"1")], 0)
    [first] = worker.take(("default",), 1, ()).leases
    proxy.word, proxy.is_silent = COMMITS[kind], True
    began = time.monotonic()

    with pytest.raises(Unavailable):
        worker.take(("default",), 1, [Ended(first, How.DELETED)])
    [second] = take(worker, [Ended(first, How.DELETED)])

    assert (second.payload, second.retries) == (b"1", 0)
    assert time.monotonic() - began < 10


@contextmanager
def locked(databases: DatabaseManager, table: str) -> Iterator[None]:
    """Somebody keeps the whole table for himself."""
    with databases.engine().connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"LOCK TABLE {table}"))
        else:
            connection.execute(text(f"LOCK TABLES {table} WRITE"))
        try:
            yield
        finally:
            if connection.dialect.name != "postgresql":
                connection.execute(text("UNLOCK TABLES"))
