"""Each step in the life of a job leaves the rows that Laravel has left, column by column."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How

FILE = json.loads((Path(__file__).parents[4] / "golden/payloads_database_v12.json").read_text())
STEPS = FILE["rows"]
BEGAN = FILE["meta"]["unix"]
TIMES = ("reserved_at", "available_at", "created_at")

Rows = Callable[[], list[dict[str, Any]]]


def begin_with(databases: DatabaseManager, table: str, number: int) -> None:
    """Let the next row have this number."""
    with databases.engine().begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO {table} (id, queue, payload, attempts, available_at, created_at) "
                f"VALUES ({number - 1}, '', '', 0, 0, 0)"
            )
        )
        connection.execute(text(f"DELETE FROM {table}"))
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {number - 1})"))


def check(rows: list[dict[str, Any]], step: str, began: int) -> None:
    """The rows are those of Laravel's step, in the same order, but for the moment at which it was done.

    Laravel cuts its clock to a whole second; what lies in the future is rounded up here, so that nothing is early.
    """
    late = time.time() - began + 1
    assert [list(row) for row in rows] == [list(row) for row in STEPS[step]]
    for row, golden in zip(rows, STEPS[step], strict=True):
        assert {**row, **dict.fromkeys(TIMES)} == {**golden, **dict.fromkeys(TIMES)}
        for column in TIMES:
            if golden[column] is None:
                assert row[column] is None
            else:
                assert 0 <= (row[column] - began) - (golden[column] - BEGAN) <= late, (step, column, row)


def test_each_step_leaves_the_rows_that_laravel_leaves(
    store: DatabaseStore, rows: Rows, databases: DatabaseManager, table: str
) -> None:
    begin_with(databases, table, STEPS["after_push"][0]["id"])
    began = int(time.time())
    for row in STEPS["after_push"]:
        delay = row["available_at"] - row["created_at"]
        store.push(row["queue"], [Message(row["payload"].encode())], delay)
    check(rows(), "after_push", began)

    [lease] = store.take(("default",), 1, ()).leases
    assert lease.payload == STEPS["after_push"][0]["payload"].encode()
    assert (lease.handle.id, lease.retries + 1) == (STEPS["pop"]["id"], STEPS["pop"]["attempts"])
    check(rows(), "after_pop", began)

    store.take((), 0, [Ended(lease, How.RELEASED, 20)])
    check(rows(), "after_release_20", began)

    [other] = store.take(("default",), 1, ()).leases
    store.take((), 0, [Ended(other, How.DELETED)])
    left = [row for row in STEPS["after_release_20"] if row["id"] != other.handle.id]
    assert [(row["id"], row["payload"]) for row in rows()] == [(row["id"], row["payload"]) for row in left]


@pytest.mark.parametrize("number", [0, 2], ids=["string", "object"])
def test_a_row_whose_worker_has_died_is_as_it_was_but_for_its_attempts(
    store: DatabaseStore, rows: Rows, databases: DatabaseManager, table: str, number: int
) -> None:
    store.push("default", [Message(STEPS["after_push"][number]["payload"].encode())], 0)
    [before] = rows()
    store.take(("default",), 1, ())
    with databases.engine().begin() as connection:  # 91 seconds later
        connection.execute(text(f"UPDATE {table} SET reserved_at = reserved_at - 91"))

    [lease] = store.take(("default",), 1, ()).leases

    [row] = rows()
    assert (lease.retries, lease.has_crashed) == (1, True)
    assert row == {**before, "attempts": 2, "reserved_at": row["reserved_at"]}
    assert abs(row["reserved_at"] - time.time()) <= 5
