"""Another transaction, such as somebody's psql, keeps a row of the table locked."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from tests.lamplighter.queue.drivers.database.conftest import SERVERS, MakeStore

Rows = Callable[[], list[dict[str, Any]]]

pytestmark = pytest.mark.parametrize("kind", SERVERS)


@pytest.fixture
def worker(make_store: MakeStore) -> DatabaseStore:
    """A worker with five jobs."""
    store = make_store()
    store.push("default", [Message(b"%d" % n) for n in range(5)], 0)
    return store


@contextmanager
def locked(databases: DatabaseManager, table: str, lease: Lease) -> Iterator[None]:
    """Somebody keeps the row of a job for himself."""
    with databases.engine().connect() as connection:
        connection.execute(text(f"SELECT id FROM {table} WHERE id = {lease.mark} FOR UPDATE"))
        yield
        connection.rollback()


def take(store: DatabaseStore, most: int, *ended: Ended) -> list[Lease]:
    """What there is now."""
    return list(store.take(("default",), most, ended).leases)


@pytest.mark.parametrize("how", How)
def test_a_row_that_is_locked_stops_no_start_and_is_told_later(
    worker: DatabaseStore,
    databases: DatabaseManager,
    table: str,
    rows: Rows,
    how: How,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    first, second = take(worker, 2)
    began = time.monotonic()

    with locked(databases, table, first):
        [third] = take(worker, 1, Ended(first, how, 60), Ended(second, How.DELETED))
        elapsed = time.monotonic() - began
        assert first.mark in {str(row["id"]) for row in rows()}
        assert [record.getMessage()[:15] for record in caplog.records] == ["a job has ended"]
        [fourth] = take(worker, 1)
    time.sleep(0.6)
    take(worker, 0)
    worker.renew([third, fourth])

    assert elapsed < 5
    assert (third.payload, fourth.payload) == (b"2", b"3")
    left = {row["payload"]: row["reserved_at"] is None for row in rows()}
    assert left == {"2": False, "3": False, "4": True, **({} if how is How.DELETED else {"0": True})}
    assert len(caplog.records) == 1


def test_a_renewal_waits_for_no_start_that_hangs(worker: DatabaseStore, databases: DatabaseManager, table: str) -> None:
    first, second = take(worker, 2)
    worker.renew([second])

    with locked(databases, table, first):
        taking = threading.Thread(target=take, args=(worker, 1, Ended(first, How.DELETED)))
        taking.start()
        began = time.monotonic()
        while not worker._lock.locked():
            assert time.monotonic() < began + 5
        lost = worker.renew([second])
        is_still_taking = taking.is_alive()
        taking.join(10)

    assert list(lost) == []
    assert is_still_taking


def test_a_row_that_is_locked_keeps_no_other_from_being_renewed(
    worker: DatabaseStore, databases: DatabaseManager, table: str, rows: Rows
) -> None:
    leases = take(worker, 3)
    with databases.engine().begin() as connection:
        connection.execute(text(f"UPDATE {table} SET reserved_at = 1 WHERE reserved_at IS NOT NULL"))

    with locked(databases, table, leases[1]), pytest.raises(Unavailable, match="locked"):
        worker.renew(leases)
    renewed = [row["reserved_at"] != 1 for row in rows()[:3]]

    assert renewed == [True, False, True]
    assert list(worker.renew(leases)) == []


def test_a_lease_that_ran_out_while_its_row_was_locked_is_anothers(
    make_store: MakeStore,
    worker: DatabaseStore,
    databases: DatabaseManager,
    table: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    [first] = take(worker, 1)
    others = make_store()
    with locked(databases, table, first):
        take(worker, 1, Ended(first, How.DELETED))
    with databases.engine().begin() as connection:
        connection.execute(text(f"UPDATE {table} SET reserved_at = 1 WHERE id = {first.mark}"))

    theirs = {lease.mark: lease for lease in take(others, 5)}
    time.sleep(0.6)
    take(worker, 1)

    assert list(others.renew([theirs[first.mark]])) == []
    assert "ran out" in caplog.records[-1].getMessage()
