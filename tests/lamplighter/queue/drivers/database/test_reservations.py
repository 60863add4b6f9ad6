"""What a worker says of a job that another one has by now changes nothing."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from tests.lamplighter.queue.drivers.database.conftest import MakeStore, fill_attempts

Rows = Callable[[], list[dict[str, Any]]]


def take(store: DatabaseStore, seconds: float = 10.0) -> Lease:
    """The next job, when there is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for lease in store.take(("default",), 1, ()).leases:
            return lease
        time.sleep(0.02)
    raise AssertionError("no job came")


@pytest.fixture
def fill(databases: DatabaseManager, table: str, kind: str, store: DatabaseStore) -> Callable[[], None]:
    """Lets a job have as many attempts as its column takes."""

    def fill() -> None:
        fill_attempts(databases, table, kind)

    store.push("default", [Message(b"1")], 0)
    return fill


@pytest.mark.parametrize("is_full", [False, True], ids=["", "no more attempts"])
def test_a_give_back_that_is_told_twice_leaves_the_next_worker_its_job(
    make_store: MakeStore, rows: Rows, fill: Callable[[], None], is_full: bool
) -> None:
    if is_full:
        fill()
    mine, others, third = make_store(), make_store(), make_store()
    for store in (mine, others, third):
        store.take(("nothing",), 1, ())  # connected, so that all of it is in one second
    time.sleep(1 - time.time() % 1)
    lease = take(mine)
    ended = [Ended(lease, How.GIVEN_BACK)]
    mine.take((), 0, ended)

    theirs = take(others)
    mine.take((), 0, [*ended, *(Ended(lease, how) for how in How)])
    lost = mine.renew([lease])

    assert list(third.take(("default",), 1, ()).leases) == []
    assert list(others.renew([theirs])) == []
    assert list(lost) == [lease]
    assert len(rows()) == 1
    others.take((), 0, [Ended(theirs, How.DELETED)])
    assert rows() == []


def test_a_late_end_changes_nothing_where_attempts_are_counted_no_further(
    make_store: MakeStore, rows: Rows, fill: Callable[[], None]
) -> None:
    fill()
    mine, others = make_store(seconds=1), make_store(seconds=1)
    late = take(mine)

    theirs = take(others)
    lost = mine.renew([late])
    mine.take((), 0, [Ended(late, how) for how in How])

    assert list(lost) == [late]
    assert list(others.renew([theirs])) == []
    assert [row["reserved_at"] is None for row in rows()] == [False]


def test_an_old_lease_counts_as_lost_where_the_same_worker_has_the_new_one(make_store: MakeStore) -> None:
    store = make_store(seconds=1)
    store.push("default", [Message(b"1")], 0)
    old = take(store)
    new = take(store)

    assert list(store.renew([old, new])) == [old]


def test_what_is_given_back_again_and_again_stays_first(make_store: MakeStore) -> None:
    store = make_store()
    store.push("default", [Message(b"%d" % n) for n in range(3)], 0)

    for _ in range(5):
        leases = store.take(("default",), 2, ()).leases
        assert [lease.payload for lease in leases] == [b"0", b"1"]
        store.take((), 0, [Ended(lease, How.GIVEN_BACK) for lease in reversed(leases)])
