"""What becomes of rows, on each database."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable, UnsupportedDelay
from lamplighter.queue.drivers.database.mysql import MysqlRows
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from tests.lamplighter.queue.drivers.database.conftest import MYSQL, SERVERS, MakeStore, as_root, fill_attempts

GOLDEN = json.loads((Path(__file__).parents[4] / "golden/payloads_database_v12.json").read_text())["rows"]
PUSHED = GOLDEN["after_push"]
COLUMNS = ("id", "queue", "payload", "attempts", "reserved_at", "available_at", "created_at")

Rows = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def golden(databases: DatabaseManager, table: str) -> list[dict[str, Any]]:
    """The rows that Laravel has pushed, as if it had done so just now."""
    now = int(time.time())
    at = PUSHED[0]["created_at"]
    rows = [
        {**row, "available_at": row["available_at"] - at + now, "created_at": row["created_at"] - at + now}
        for row in PUSHED
    ]
    columns, values = ", ".join(COLUMNS), ", ".join(f":{column}" for column in COLUMNS)
    with databases.engine().begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), rows)
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 8)"))
    return rows


def take(store: DatabaseStore, *queues: str, most: int = 1, ended: list[Ended] | None = None) -> list[Lease]:
    """What there is now."""
    return list(store.take(queues or ("default",), most, ended or []).leases)


def take_soon(store: DatabaseStore, *queues: str, seconds: float = 10.0) -> Lease:
    """The next job, when there is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for lease in take(store, *queues):
            return lease
        time.sleep(0.02)
    raise AssertionError("no job came")


def test_a_push_leaves_the_columns_that_laravel_does(store: DatabaseStore, rows: Rows) -> None:
    began = int(time.time())

    store.push("default", [Message(PUSHED[0]["payload"].encode())], 0)
    store.push("emails", [Message(PUSHED[1]["payload"].encode())], 60)

    first, second = rows()
    assert {**first, "id": 0} == {
        **PUSHED[0],
        "id": 0,
        "available_at": first["created_at"],
        "created_at": first["created_at"],
    }
    assert began <= first["created_at"] <= time.time()
    assert (second["queue"], second["payload"], second["attempts"]) == ("emails", PUSHED[1]["payload"], 0)
    assert second["available_at"] - second["created_at"] in (60, 61)  # as Laravel, but never early


def test_a_row_of_laravels_is_popped_as_laravel_pops_it(
    store: DatabaseStore, rows: Rows, golden: list[dict[str, Any]]
) -> None:
    [lease] = take(store)

    assert lease.payload == PUSHED[0]["payload"].encode()
    assert (lease.queue, lease.retries, lease.mark, lease.has_crashed) == ("default", 0, "6", False)
    popped, *others = rows()
    assert others == golden[1:]
    assert popped == {**golden[0], "attempts": 1, "reserved_at": popped["reserved_at"]}
    assert popped["reserved_at"] - golden[0]["created_at"] in (0, 1, 2, 3)


def test_a_release_leaves_the_row_that_laravel_does(
    store: DatabaseStore, rows: Rows, golden: list[dict[str, Any]]
) -> None:
    [lease] = take(store)

    store.take((), 0, [Ended(lease, How.RELEASED, 20)])

    *others, released = rows()
    assert others == golden[1:]
    assert {**released, "available_at": 0, "created_at": 0} == {
        **GOLDEN["after_release_20"][2],
        "available_at": 0,
        "created_at": 0,
    }
    assert released["available_at"] - released["created_at"] in (20, 21)


def test_a_job_that_is_done_leaves_no_row(store: DatabaseStore, rows: Rows, golden: list[dict[str, Any]]) -> None:
    [lease] = take(store)

    [second] = take(store, ended=[Ended(lease, How.DELETED)])

    assert [row["id"] for row in rows()] == [7, 8]
    assert second.payload == PUSHED[2]["payload"].encode()


def test_what_is_given_back_stands_as_it_stood(store: DatabaseStore, rows: Rows, golden: list[dict[str, Any]]) -> None:
    [lease] = take(store)

    store.take((), 0, [Ended(lease, How.GIVEN_BACK)])

    first, *others = golden
    assert rows() == [{**first, "available_at": first["available_at"] - 1}, *others]
    assert take(store)[0].mark == "6"


def test_an_excused_start_is_not_counted(store: DatabaseStore, rows: Rows, golden: list[dict[str, Any]]) -> None:
    [lease] = take(store)

    store.take((), 0, [Ended(lease, How.EXCUSED, 0)])

    assert [row["attempts"] for row in rows()] == [0, 0, 0]


def test_jobs_begin_in_the_order_of_their_pushes(store: DatabaseStore) -> None:
    store.push("default", [Message(b"%d" % n) for n in range(600)], 0)
    store.push("default", [Message(b"600")], 0)

    taken = [lease.payload for _ in range(7) for lease in take(store, most=100)]

    assert taken == [b"%d" % n for n in range(601)]


def test_a_queue_waits_while_one_before_it_has_jobs(make_store: MakeStore) -> None:
    first, second = make_store(), make_store()
    first.push("low", [Message(b"low")] * 3, 0)
    first.push("high", [Message(b"high")] * 3, 0)

    both = [*take(first, "high", "low", most=2), *take(second, "high", "low", most=5), *take(first, "high", "low")]

    assert [lease.queue for lease in both] == ["high", "high", "high", "low"]


def test_the_first_of_very_many_queues_that_has_a_job_is_found_soon(store: DatabaseStore) -> None:
    names = [f"queue-{n}" for n in range(200)]
    for n in (180, 150):
        store.push(names[n], [Message(b"%d" % n)] * 3, 0)
    began = time.monotonic()

    taken = [lease.payload for _ in range(4) for lease in take(store, *names, most=2)]

    assert taken == [b"150", b"150", b"150", b"180", b"180", b"180"]
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("delay", [0.3, 1, 1.5])
def test_nothing_is_early(store: DatabaseStore, delay: float) -> None:
    store.push("default", [Message(b"1")], 0)
    [lease] = take(store)
    began = time.monotonic()
    store.push("default", [Message(b"2")], delay)
    store.take((), 0, [Ended(lease, How.RELEASED, delay)])

    for _ in range(2):
        take_soon(store)
        assert time.monotonic() - began >= delay


@pytest.mark.parametrize("kind", MYSQL)
def test_no_part_of_the_servers_clock_is_cut_off(databases: DatabaseManager) -> None:
    rows = MysqlRows("jobs", seconds=90, can_skip=True, bare_table="jobs")
    with databases.engine().connect() as connection:
        connection.exec_driver_sql("SET timestamp = 1796068800.000049")
        query = f"SELECT {rows.moment}, {rows.soon}, {rows.due}"
        moment, soon, due = connection.exec_driver_sql(query, {"delay": 1.0}).one()
        connection.exec_driver_sql("SET timestamp = DEFAULT")

    assert (str(moment), int(soon), int(due)) == ("1796068800.000049", 1796068801, 1796068802)


def test_a_worker_is_told_when_the_next_job_is_due(store: DatabaseStore) -> None:
    store.push("default", [Message(b"1")], 30)

    for _ in range(2):
        due = store.take(("other", "default"), 1, ()).next_due
        assert due is not None
        assert 29 < due <= 31
    assert store.take(("other",), 1, ()).next_due is None


def test_a_lease_that_ran_out_is_anothers(make_store: MakeStore, rows: Rows) -> None:
    mine, others = make_store(seconds=1), make_store(seconds=1)
    mine.push("default", [Message(b"%d" % n) for n in range(4)], 0)
    began = time.monotonic()
    late = take(mine, most=4)

    theirs = [take_soon(others) for _ in range(4)]
    elapsed = time.monotonic() - began
    lost = mine.renew(late)
    mine.take((), 0, [Ended(lease, how) for lease, how in zip(late, How, strict=True)])

    assert elapsed >= 1
    assert [(lease.retries, lease.has_crashed) for lease in theirs] == [(1, True)] * 4
    assert lost == late
    assert [(row["attempts"], row["reserved_at"] is None) for row in rows()] == [(2, False)] * 4
    assert list(others.renew(theirs)) == []


def test_a_lease_that_is_renewed_does_not_run_out(make_store: MakeStore) -> None:
    mine, others = make_store(seconds=1), make_store(seconds=1)
    mine.push("default", [Message(b"1"), Message(b"2")], 0)
    leases = take(mine, most=2)
    until = time.monotonic() + 3

    while time.monotonic() < until:
        assert list(mine.renew(leases)) == []
        assert take(others) == []
        time.sleep(0.1)

    assert take(mine, ended=[Ended(lease, How.DELETED) for lease in leases]) == []
    assert mine.sizes("default").reserved == 0


def test_the_count_of_attempts_stops_where_its_column_does(
    store: DatabaseStore, databases: DatabaseManager, table: str, kind: str
) -> None:
    store.push("default", [Message(b"1")], 0)
    most = fill_attempts(databases, table, kind)

    [first] = take(store)
    [second] = take(store, ended=[Ended(first, How.RELEASED)])

    assert (first.retries, second.retries) == (most - 1, most - 1)


HOSTILE = {
    "nothing": b"",
    "one byte": b"0",
    "text": '"é€😀\\ud800"'.encode(),
    "quotes": b"\"'\\%s%%(x)s:now;--",
    "a NUL": b'{"a":"\x00"}',
    "half a surrogate": b'"\xed\xa0\x80"',
    "not UTF-8": b"\xff\xfe",
    "one megabyte": b'"' + b"x" * 1_000_000 + b'"',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_payload_comes_as_it_was_pushed_or_is_refused(store: DatabaseStore, kind: str, name: str) -> None:
    payload = HOSTILE[name]
    is_text = name not in ("half a surrogate", "not UTF-8") and not (name == "a NUL" and kind == "postgresql")
    if kind != "sqlite" and not is_text:
        with pytest.raises(QueueError) as caught:
            store.push("default", [Message(b"1"), Message(payload)], 0)
        assert not isinstance(caught.value, Unavailable)
        assert take(store) == []
        return

    store.push("default", [Message(payload)], 0)
    store.push("default", [Message(payload), Message(payload)], 0)

    assert [lease.payload for lease in take(store, most=3)] == [payload] * 3


def test_a_name_that_no_queue_can_have_is_refused(store: DatabaseStore, kind: str) -> None:
    if kind == "sqlite":
        store.push("x" * 300, [Message(b"1")], 0)
        assert take(store, "x" * 300)
        return
    with pytest.raises(QueueError):
        store.push("x" * 300, [Message(b"1")], 0)


def test_names_of_queues_differ_by_their_letters(store: DatabaseStore) -> None:
    store.push("Default", [Message(b"1")], 0)

    assert take(store, "default") == []
    assert len(take(store, "Default")) == 1


@pytest.mark.parametrize("kind", MYSQL)
def test_a_payload_that_the_server_does_not_take_is_told(store: DatabaseStore, databases: DatabaseManager) -> None:
    with databases.engine().connect() as connection:
        limit = int(connection.execute(text("SELECT @@max_allowed_packet")).scalar_one())

    with pytest.raises(MessageTooLarge):
        store.push("default", [Message(b"x" * limit)], 0)


@contextmanager
def globally(databases: DatabaseManager, name: str, value: object) -> Iterator[None]:
    """A server of MySQL with another setting, for those who connect from now on."""
    with databases.engine().connect() as connection:
        before = connection.scalar(text(f"SELECT @@GLOBAL.{name}"))
    as_root(f"SET GLOBAL {name} = {value!r}")
    try:
        yield
    finally:
        as_root(f"SET GLOBAL {name} = {before!r}")


@pytest.mark.parametrize("kind", MYSQL)
def test_what_goes_in_no_small_packet_is_told_and_the_rest_is_parted(
    make_store: MakeStore, databases: DatabaseManager, rows: Rows
) -> None:
    with globally(databases, "max_allowed_packet", 1_048_576):
        store = make_store()
        with pytest.raises(MessageTooLarge):
            store.push("default", [Message(b"1"), Message(b"x" * 1_500_000)], 0)
        with pytest.raises(MessageTooLarge):
            store.push("default", [Message(b"1"), Message(b"\0" * 600_000)], 0)
        assert rows() == []

        store.push("default", [Message(b"%03d" % n + b"'" * 20_000) for n in range(100)], 0)

        assert [row["payload"][:3] for row in rows()] == [f"{n:03}" for n in range(100)]


@pytest.mark.parametrize("kind", MYSQL)
def test_a_payload_that_its_column_would_cut_is_refused(
    make_store: MakeStore, databases: DatabaseManager, table: str, rows: Rows
) -> None:
    with databases.engine().begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} MODIFY payload TEXT"))

    with globally(databases, "sql_mode", ""):
        store = make_store()
        with pytest.raises(QueueError):
            store.push("default", [Message(b"x" * 70_000)], 0)

    assert rows() == []


@pytest.mark.parametrize("kind", SERVERS)
def test_a_delay_beyond_the_column_is_told(
    store: DatabaseStore, databases: DatabaseManager, table: str, kind: str
) -> None:
    with databases.engine().begin() as connection:  # as Laravel has it
        change = "MODIFY available_at INT UNSIGNED" if kind == "mysql" else "ALTER available_at TYPE integer"
        connection.execute(text(f"ALTER TABLE {table} {change}"))

    with pytest.raises(UnsupportedDelay):
        store.push("default", [Message(b"1")], 5e9)


def test_jobs_are_counted_by_what_they_wait_for(make_store: MakeStore) -> None:
    store = make_store(seconds=1)
    store.push("default", [Message(b"1")] * 3, 0)
    store.push("default", [Message(b"1")], 60)
    store.push("other", [Message(b"1")], 0)
    take(store)

    sizes = store.sizes("default")

    assert (sizes.pending, sizes.delayed, sizes.reserved) == (2, 1, 1)
    assert sizes.oldest is not None
    assert abs(sizes.oldest - time.time()) < 30
    assert (store.sizes("none").pending, store.sizes("none").oldest) == (0, None)


def test_a_queue_is_cleared_and_no_other(store: DatabaseStore) -> None:
    store.push("default", [Message(b"1")] * 3, 0)
    store.push("default", [Message(b"1")], 60)
    store.push("other", [Message(b"1")], 0)

    assert (store.clear("default"), store.clear("default")) == (4, 0)
    assert store.sizes("other").pending == 1


def test_a_table_that_is_missing_names_migrate(databases: DatabaseManager) -> None:
    store = DatabaseStore(databases, "database", database=None, table="jobs_of_nobody", seconds=90)
    asked: list[Callable[[], object]] = [
        lambda: store.push("default", [Message(b"1")], 0),
        lambda: store.take(("default",), 1, ()),
        lambda: store.sizes("default"),
        lambda: store.clear("default"),
    ]

    for ask in asked:
        with pytest.raises(QueueError, match=r"jobs_of_nobody.*migrate") as caught:
            ask()
        assert not isinstance(caught.value, Unavailable)


def test_an_idle_worker_leaves_no_transaction_open(
    store: DatabaseStore, databases: DatabaseManager, table: str
) -> None:
    for _ in range(3):
        take(store)

    with databases.engine().begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN further INTEGER"))
    store.push("default", [Message(b"1")], 0)

    assert len(take(store)) == 1
