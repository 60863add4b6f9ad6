"""The table of long delays, on SQLite, and on the servers that are there."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.errors import MigrationError, QueueError
from lamplighter.kafka.delays.rows.table import LEASE, DelayedJobs
from lamplighter.queue.claims.claims import HEADER, Reference
from tests.databases import KINDS, empty_database

MIGRATIONS = Path(__file__).parents[5] / "database/migrations"
NOW = 1_800_000_000.0


@pytest.fixture(params=KINDS)
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseManager]:
    """A database with the tables of the skeleton."""
    manager = empty_database(request.param, tmp_path)
    Migrator(manager.engine(), MIGRATIONS).migrate(lambda name, seconds: None)
    yield manager
    manager.dispose()


@pytest.fixture
def table(databases: DatabaseManager) -> DelayedJobs:
    """The table of the connection kafka."""
    return DelayedJobs(databases, connection="kafka", database=None, table="delayed_jobs")


def job(id: str = "7") -> Message:
    """A job with all that a message can have."""
    payload = b'{"job":"probe","displayName":"Probe","id":"%s","data":"\\u0000"}\xff' % id.encode()
    return Message(payload[:-1], b"\x00key\xff", [("trace", b"\xff"), ("none", None)])


def test_what_is_due_comes_back_as_it_was_put(table: DelayedJobs) -> None:
    table.put(job(), "orders", NOW + 5.25)

    early = table.claim(NOW + 5, most=10)[1]
    due = table.claim(NOW + 5.25, most=10)[1]

    assert early == []
    assert [(one.queue, one.due, one.job_id, one.name) for one in due] == [("orders", NOW + 5.25, "7", "Probe")]
    assert due[0].message == job()


def test_claimed_rows_are_one_movers_until_its_lease_is_over(table: DelayedJobs) -> None:
    table.put(job(), "orders", NOW)

    first = table.claim(NOW, most=10)
    second = table.claim(NOW + LEASE - 1, most=10)
    third = table.claim(NOW + LEASE, most=10)

    assert [len(jobs) for _, jobs in (first, second, third)] == [1, 0, 1]


def test_a_mover_whose_lease_is_over_deletes_nothing(table: DelayedJobs) -> None:
    table.put(job(), "orders", NOW)
    late, jobs = table.claim(NOW, most=10)
    lease, _ = table.claim(NOW + LEASE, most=10)
    ids = [one.id for one in jobs]

    counts = table.forget(late, ids), table.forget(lease, ids)

    assert counts == (0, 1)
    assert table.count() == 0


def test_what_is_given_back_can_be_claimed_at_once(table: DelayedJobs) -> None:
    table.put(job(), "orders", NOW)
    lease, _ = table.claim(NOW, most=10)

    table.give_back(lease)

    assert len(table.claim(NOW, most=10)[1]) == 1


def test_movers_beside_each_other_never_claim_the_same(table: DelayedJobs) -> None:
    for n in range(60):
        table.put(job(str(n)), "orders", NOW)

    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: table.claim(NOW, most=7)[1], range(16)))
    while left := table.claim(NOW, most=60)[1]:
        claims.append(left)

    ids = [one.id for claim in claims for one in claim]
    assert len(ids) == len(set(ids)) == 60


@pytest.mark.parametrize(
    ("due", "now"),
    [(5.2504, 5.2503), (5.25, 5.2496), (5.2, 5.19951), (5.0004, 5.0)],
)
def test_nothing_is_moved_by_a_part_of_a_millisecond_too_early(table: DelayedJobs, due: float, now: float) -> None:
    table.put(job(), "orders", NOW + due)

    early = table.claim(NOW + now, most=10)[1]
    later = table.claim(NOW + due + 0.001, most=10)[1]

    assert (len(early), len(later)) == (0, 1)


@pytest.mark.parametrize(("leased", "now"), [(5.0004, 5.0003), (5.0, 4.9996)])
def test_a_lease_is_nobody_elses_before_it_is_over(table: DelayedJobs, leased: float, now: float) -> None:
    table.put(job(), "orders", NOW)
    table.claim(NOW + leased, most=10)

    early = table.claim(NOW + now + LEASE, most=10)[1]
    cancelled = table.cancel("7", NOW + now + LEASE)

    assert (early, cancelled) == ([], 0)


def test_the_next_due_is_told_and_leased_rows_are_later(table: DelayedJobs) -> None:
    nothing = table.next_due(NOW)
    table.put(job(), "orders", NOW + 9)
    table.put(job(), "orders", NOW + 4)

    waiting = table.next_due(NOW)
    table.claim(NOW + 4, most=1)
    behind = table.next_due(NOW + 4)
    table.claim(NOW + 9, most=1)

    assert (nothing, waiting, behind) == (None, NOW + 4, NOW + 9)
    assert table.next_due(NOW + 9) == NOW + 4 + LEASE


def test_jobs_are_listed_counted_and_cancelled(table: DelayedJobs) -> None:
    table.put(job("a"), "orders", NOW + 9)
    id = table.put(job("b"), "orders", NOW + 4)
    table.put(job("c"), "mails", NOW + 6)

    listed = [one.job_id for one in table.all()]
    counts = table.count(), table.count("orders")
    cancelled = table.cancel(id, NOW), table.cancel("c", NOW), table.cancel("nobody", NOW)

    assert listed == ["b", "c", "a"]
    assert counts == (3, 2)
    assert cancelled == (1, 1, 0)
    assert [one.job_id for one in table.all()] == ["a"]


def test_payloads_that_are_put_aside_are_known_by_name_whoever_they_wait_for(
    databases: DatabaseManager, table: DelayedJobs
) -> None:
    references = [Reference(digit * 32, "0" * 64, 1) for digit in "ab"]
    other = DelayedJobs(databases, connection="other", database=None, table="delayed_jobs")
    for each, reference in zip((table, other), references, strict=True):
        each.put(Message(b"{}", None, [("trace", b"x"), (HEADER, str(reference).encode())]), "store", NOW)
    table.put(Message(b"{}", None, [(HEADER, b"rubbish")]), "store", NOW)
    table.put(job(), "store", NOW)

    claims = table.claims()

    assert claims == {"a" * 32, "b" * 32}


def test_what_is_being_moved_can_not_be_cancelled(table: DelayedJobs) -> None:
    id = table.put(job(), "orders", NOW)
    table.claim(NOW, most=1)

    assert table.cancel(id, NOW) == 0


def test_what_was_refused_waits_for_its_lease_and_can_be_cancelled(table: DelayedJobs) -> None:
    id = table.put(job(), "orders", NOW)
    lease, _ = table.claim(NOW, most=1)

    table.set_aside(lease, [id])

    assert table.claim(NOW + LEASE - 1, most=1)[1] == []
    assert table.next_due(NOW) == NOW + LEASE
    assert table.cancel(id, NOW) == 1


def test_rows_of_another_connection_are_left_alone(databases: DatabaseManager, table: DelayedJobs) -> None:
    other = DelayedJobs(databases, connection="other", database=None, table="delayed_jobs")
    table.put(job(), "orders", NOW)

    assert (other.claim(NOW, most=1)[1], other.next_due(NOW), other.count(), other.cancel("7", NOW)) == ([], None, 0, 0)


def test_a_missing_table_is_told_with_what_to_do(databases: DatabaseManager) -> None:
    table = DelayedJobs(databases, connection="kafka", database=None, table="nowhere")

    with pytest.raises(MigrationError, match=r"nowhere.*run `migrate`"):
        table.put(job(), "orders", NOW)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_job_that_locks_its_own_row_out_is_told_what_to_do(databases: DatabaseManager, table: DelayedJobs) -> None:
    impatient = databases.engine().connect()
    impatient.exec_driver_sql("PRAGMA busy_timeout = 0")
    impatient.rollback()

    with databases.engine().begin():
        impatient.close()  # the table is given this one

        with pytest.raises(QueueError, match="must commit before it dispatches") as told:
            table.put(job(), "orders", NOW)

    assert not SqlAlchemyErrors().is_deadlock(told.value)


@pytest.mark.parametrize("act", ["put", "cancel"])
def test_a_user_waits_for_the_locks_of_others_as_long_as_is_said(
    databases: DatabaseManager, table: DelayedJobs, act: str
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "put": lambda: table.put(job(), "orders", NOW, timeout=0.2),
        "cancel": lambda: table.cancel("7", NOW, timeout=0.2),
    }
    with databases.engine().begin() as other:
        if other.dialect.name == "postgresql":
            other.execute(text("LOCK TABLE delayed_jobs IN ACCESS EXCLUSIVE MODE"))
        elif other.dialect.name != "sqlite":
            other.execute(text("LOCK TABLES delayed_jobs WRITE"))
        began = time.monotonic()

        with pytest.raises(QueueError, match=r"locked for \d\.\d s.*may be of another process") as told:
            calls[act]()
        took = time.monotonic() - began

    assert 0.2 <= took < 5
    assert not SqlAlchemyErrors().is_deadlock(told.value)


def test_the_next_user_of_a_connection_waits_as_long_as_all_do(databases: DatabaseManager, table: DelayedJobs) -> None:
    question = {
        "sqlite": "PRAGMA busy_timeout",
        "postgresql": "SHOW statement_timeout",
        "mysql": "SELECT @@innodb_lock_wait_timeout",
    }
    with databases.engine().connect() as connection:
        before = connection.exec_driver_sql(question[connection.dialect.name]).scalar()

    table.put(job(), "orders", NOW, timeout=0.2)

    with databases.engine().connect() as connection:
        assert connection.exec_driver_sql(question[connection.dialect.name]).scalar() == before


def test_a_table_is_looked_for_without_making_a_file(tmp_path: Path, databases: DatabaseManager) -> None:
    options = {"driver": "sqlite", "database": str(tmp_path / "none.sqlite")}
    settings = Repository({"database": {"default": "none", "connections": {"none": options}}})
    none = DelayedJobs(DatabaseManager(settings, Path), connection="kafka", database=None, table="delayed_jobs")
    other = DelayedJobs(databases, connection="kafka", database=None, table="other_jobs")
    there = DelayedJobs(databases, connection="kafka", database=None, table="delayed_jobs")

    assert [table.is_there() for table in (none, other, there)] == [False, False, True]
    assert not (tmp_path / "none.sqlite").exists()


def test_the_jobs_of_other_connections_are_counted(databases: DatabaseManager, table: DelayedJobs) -> None:
    for connection in ("old", "old", "older"):
        other = DelayedJobs(databases, connection=connection, database=None, table="delayed_jobs")
        other.put(job(), "orders", NOW)
    table.put(job(), "orders", NOW)

    assert table.others() == {"old": 2, "older": 1}
