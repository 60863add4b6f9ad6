"""Rows of the table of long delays that hold what no dispatch writes: SQLite takes any value in any column."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.errors import QueueError
from lamplighter.kafka.delays.clock import HostClock
from lamplighter.kafka.delays.rows import mover as mover_module
from lamplighter.kafka.delays.rows.mover import RowMover
from lamplighter.kafka.delays.rows.table import LEASE, DelayedJobs
from lamplighter.kafka.producing.partitioner import any_partition

MIGRATIONS = Path(__file__).parents[5] / "database/migrations"
INVALID = "cast(x'ff' as text)"
# What makes a row odd, and what is told of it.
FAULTS = {
    "queue = x'ff'": "queue is a BLOB",
    "queue = ''": "no name of a topic",
    "queue = 'a b/c'": "no name of a topic",
    f"queue = {INVALID}": "no name of a topic",
    "payload = 7": "payload is a number",
    "payload = 9223372036854775807": "payload is a number",
    "payload = '{}'": "payload is TEXT",
    f"payload = {INVALID}": "payload is TEXT",
    "key = 7": "key is a number",
    "key = 1.5": "key is a number",
    "key = 'order-7'": "key is TEXT",
    "headers = x'ff00'": "headers are a BLOB",
}
TIMELESS = {
    "due_at = 'soon'": "due_at is TEXT",
    "due_at = x'00'": "due_at is a BLOB",
    "due_at = 9e999": "due_at is a number",
    f"due_at = {INVALID}": "due_at is TEXT",
}
# What is odd, and keeps nothing from being moved.
HARMLESS = [
    "headers = 7",
    "headers = '[1]'",
    f"headers = {INVALID}",
    "name = x'ff', job_id = x'fe'",
    f"name = {INVALID}, job_id = char(10)",
    "due_at = 1.5",
    "due_at = -5",
    "leased_until = 'x'",
    "leased_until = x'00'",
    "leased_until = 9223372036854775807",
    "leased_until = 9e999",
    "leased_until = (strftime('%s','now') + 3600) * 1000",
    "lease = x'ff'",
    "id = x'ff'",
    "id = ''",
    f"id = {INVALID}",
    "id = '--help'",
    "id = char(27) || '[2J'",
]


class KeepingSender:
    """A producer that acknowledges at once; it refuses a message whose key is `refused`."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_soon(
        self, topic: str, message: Message, partition: int, told: Callable[[QueueError | None, Any], object]
    ) -> None:
        """Keep it."""
        if message.key == b"refused":
            raise ValueError("refused by the client")
        self.sent.append(message.payload)
        told(None, None)

    def serve(self, wait: float) -> None:
        """There is nothing to wait for."""


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[DatabaseManager]:
    """SQLite with the tables of the skeleton."""
    options = {"driver": "sqlite", "database": str(tmp_path / "database.sqlite")}
    settings = Repository({"database": {"default": "test", "connections": {"test": options}}})
    manager = DatabaseManager(settings, lambda path: tmp_path / path)
    Migrator(manager.engine(), MIGRATIONS).migrate(lambda name, seconds: None)
    yield manager
    manager.dispose()


@pytest.fixture
def table(databases: DatabaseManager) -> DelayedJobs:
    """The table, with an odd row between two good ones; all are due."""
    table = DelayedJobs(databases, connection="kafka", database=None, table="delayed_jobs")
    now = time.time()
    table.put(Message(b"first", b"k", [("a", b"1")]), "orders", now - 20)
    table.put(Message(b"odd", None, ()), "orders", now - 10)
    table.put(Message(b"last", None, ()), "orders", now - 5)
    return table


def make_odd(databases: DatabaseManager, change: str) -> None:
    with databases.engine().begin() as connection:
        connection.exec_driver_sql(f"UPDATE delayed_jobs SET {change} WHERE payload = x'6f6464'")


@contextmanager
def moving(table: DelayedJobs, sender: KeepingSender) -> Iterator[None]:
    mover = RowMover(
        lambda: table,
        HostClock(),
        lambda: sender,
        short=900,
        is_store=True,
        known=["kafka"],
        partitioner=any_partition,
        may_begin=lambda: True,
    )
    mover.start()
    try:
        yield
    finally:
        assert mover.stop(timeout=10)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


@pytest.mark.parametrize(("change", "fault"), [*FAULTS.items(), *TIMELESS.items()])
def test_an_odd_row_stays_and_is_told_and_the_others_are_moved(
    databases: DatabaseManager, table: DelayedJobs, change: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_odd(databases, change)
    sender = KeepingSender()
    caplog.set_level(logging.ERROR)

    def told() -> list[Any]:
        return [record for record in caplog.records if "can't be moved" in record.message]

    with moving(table, sender):
        wait_until(lambda: table.count() == 1 and bool(told()))

    [row] = table.all()
    assert sender.sent == [b"first", b"last"]
    assert fault in row.fault
    assert [(record.id, record.reason) for record in told()] == [(row.id, row.fault)]
    assert table.cancel(row.id, time.time()) == 1
    assert table.count() == 0


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_odd_beside_the_message_keeps_nothing_back(
    databases: DatabaseManager, table: DelayedJobs, change: str
) -> None:
    make_odd(databases, change)
    sender = KeepingSender()

    with moving(table, sender):
        wait_until(lambda: table.count() == 0)

    assert sorted(sender.sent) == [b"first", b"last", b"odd"]


@pytest.mark.parametrize("change", [change for change in HARMLESS if change.startswith("id")])
def test_a_row_of_any_id_can_be_cancelled_by_what_is_told_of_it(
    databases: DatabaseManager, table: DelayedJobs, change: str
) -> None:
    make_odd(databases, change)
    [id] = [row.id for row in table.all() if row.message.payload == b"odd"]

    count = table.cancel(id, time.time())

    assert (count, id.isprintable(), id[0]) == (1, True, "x")
    assert table.count() == 2


def test_an_odd_row_is_told_once_however_often_it_is_found(
    databases: DatabaseManager,
    table: DelayedJobs,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_odd(databases, "due_at = 'soon'")
    monkeypatch.setattr(mover_module, "LOOK_EVERY", 0.0)
    mover = RowMover(
        lambda: table,
        HostClock(),
        KeepingSender,
        short=1,
        is_store=True,
        known=["kafka"],
        partitioner=any_partition,
        may_begin=lambda: True,
    )

    for _ in range(3):
        mover._move(table)

    assert sum("can't be moved" in record.message for record in caplog.records) == 1


def test_what_a_client_refuses_to_write_costs_its_neighbours_nothing(table: DelayedJobs) -> None:
    table.put(Message(b"refused", b"refused", ()), "orders", time.time() - 15)
    sender = KeepingSender()

    with moving(table, sender):
        wait_until(lambda: table.count() == 1)

    assert sorted(sender.sent) == [b"first", b"last", b"odd"]
    assert [row.message.payload for row in table.all()] == [b"refused"]


def test_odd_rows_are_listed_first_and_counted_within_the_limit(databases: DatabaseManager, table: DelayedJobs) -> None:
    make_odd(databases, "due_at = 'soon'")

    assert [row.due > 0 for row in table.all(most=2)] == [False, True]
    assert len(table.all(most=1)) == 1


def test_the_next_due_is_a_time_whatever_other_rows_have(databases: DatabaseManager, table: DelayedJobs) -> None:
    now = time.time()
    make_odd(databases, "due_at = 'soon', leased_until = x'00'")
    table.claim(now, most=10)

    due = table.next_due(now)

    assert due == pytest.approx(now + LEASE, abs=0.01)


def test_claims_of_headers_that_are_bytes_are_known(databases: DatabaseManager, table: DelayedJobs) -> None:
    name, digest = "a" * 32, "0" * 64
    table.put(Message(b"claim", None, [("x-claim", f"file:{name}:{digest}:1".encode())]), "orders", time.time())
    with databases.engine().begin() as connection:
        connection.execute(
            text("UPDATE delayed_jobs SET headers = CAST(headers AS BLOB) WHERE payload = x'636c61696d'")
        )

    assert table.claims() == {name}
