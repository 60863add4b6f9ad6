"""Rows of a table that lets others write anything: each by itself, and those behind it run."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease

NUMBERS = {"postgresql": ("smallint", "bigint"), "mysql": ("smallint", "bigint"), "sqlite": ("", "")}

# What stands in a column, and the number of starts before that it counts as.
ODD: list[tuple[str, Any, int]] = [
    ("attempts", None, 0),
    ("attempts", -5, 0),
    ("attempts", 32_767, 32_766),
    ("created_at", None, 0),
    ("created_at", -5, 0),
    ("created_at", 2**62, 0),
    ("payload", None, 0),
    ("reserved_at", 0, 0),
]
ODD_IN_SQLITE: list[tuple[str, Any, int]] = [
    ("attempts", "abc", 0),
    ("attempts", "3", 3),
    ("attempts", 1.5, 1),
    ("attempts", 2**62, 32_766),
    ("attempts", b"\xff", 0),
    ("created_at", "2026-11-30 10:00:00", 0),
    ("created_at", 1.5, 0),
    ("created_at", b"x", 0),
    ("payload", 5, 0),
    ("available_at", 5.5, 0),
]
NEVER_DUE: list[Any] = [None]
NEVER_DUE_IN_SQLITE: list[Any] = ["abc", b"x"]


@pytest.fixture
def loose(databases: DatabaseManager, kind: str) -> Iterator[str]:
    """A table of others, whose columns may hold anything that the database lets them."""
    name = f"loose_{uuid.uuid4().hex[:8]}"
    id = {
        "postgresql": "BIGSERIAL PRIMARY KEY",
        "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    }[kind]
    small, large = NUMBERS[kind]
    columns = f"id {id}, queue VARCHAR(255), payload {'' if kind == 'sqlite' else 'TEXT'}, attempts {small}"
    times = f"reserved_at {large}, available_at {large}, created_at {large}"
    with databases.engine().begin() as connection:
        connection.execute(text(f"CREATE TABLE {name} ({columns}, {times})"))
    yield name
    with databases.engine().begin() as connection:
        connection.execute(text(f"DROP TABLE {name}"))


@pytest.fixture
def worker(databases: DatabaseManager, loose: str) -> Iterator[DatabaseStore]:
    """The store of a worker on that table."""
    store = DatabaseStore(databases, "database", database=None, table=loose, seconds=90)
    yield store
    store.close()


@pytest.fixture
def insert(databases: DatabaseManager, loose: str) -> Callable[..., None]:
    """Writes a row, as somebody else."""

    def insert(**odd: Any) -> None:
        now = int(time.time())
        payload = json.dumps({"uuid": "u", "job": "odd"})
        row = {"queue": "default", "payload": payload, "attempts": 0, "reserved_at": None}
        row |= {"available_at": now - 60, "created_at": now, **odd}
        query = f"INSERT INTO {loose} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"
        with databases.engine().begin() as connection:
            connection.execute(text(query), row)

    return insert


def take(store: DatabaseStore, most: int, *ended: Ended) -> list[Lease]:
    """What there is now."""
    return list(store.take(("default",), most, ended).leases)


def test_an_odd_row_is_a_job_as_any_other(worker: DatabaseStore, insert: Callable[..., None], kind: str) -> None:
    for column, value, before in ODD + (ODD_IN_SQLITE if kind == "sqlite" else []):
        insert(**{column: value})
        worker.push("default", [Message(b"good")], 0)

        sizes = worker.sizes("default")
        [odd] = take(worker, 1)
        worker.take((), 0, [Ended(odd, How.GIVEN_BACK)])
        [again, good] = take(worker, 5)
        kept = worker.renew([again, good])
        left = take(worker, 1, Ended(again, How.DELETED), Ended(good, How.DELETED))

        assert (column, value, sizes.pending) == (column, value, 2)
        assert (column, value, odd.retries, again.retries) == (column, value, before, before)
        assert (odd.mark, good.payload) == (again.mark, b"good")
        assert (column, value, list(kept), left) == (column, value, [], [])
        assert worker.clear("default") == 0


def test_what_is_never_due_stops_nobody(worker: DatabaseStore, insert: Callable[..., None], kind: str) -> None:
    for value in NEVER_DUE + (NEVER_DUE_IN_SQLITE if kind == "sqlite" else []):
        insert(available_at=value)
        worker.push("default", [Message(b"good")], 0)

        [good] = take(worker, 5)
        last = [worker.take(("default",), 1, ended) for ended in ([Ended(good, How.DELETED)], [], [])]

        assert good.payload == b"good"
        assert [(list(taken.leases), taken.next_due) for taken in last] == [([], None)] * 3
        assert list(worker.held(10)) == []
        worker.clear("default")
