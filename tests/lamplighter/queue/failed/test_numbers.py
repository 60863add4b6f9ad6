"""Failed jobs whose ids are the numbers of their rows, as those of Laravel's driver `database`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.database.migrations import Migrator
from lamplighter.database.migrations.making import make
from lamplighter.queue.commands.make_failed_table import TEMPLATE
from lamplighter.queue.failed import Failure, Wanted
from lamplighter.queue.failed.database import DatabaseFailedJobs
from tests.databases import KINDS, empty_database

ROOT = Path(__file__).parents[4]
UUID = "edf807ea-4b9a-47d9-bb6a-7e46844ad31f"


@pytest.fixture(params=KINDS)
def failed_jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseFailedJobs]:
    """An empty store."""
    manager = empty_database(request.param, tmp_path)
    Migrator(manager.engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    yield DatabaseFailedJobs(manager, database=None, table="failed_jobs", has_numbers=True)
    manager.dispose()


def record(failed_jobs: DatabaseFailedJobs, number: int, **fields: Any) -> str:
    """Keep a job."""
    given: dict[str, Any] = {
        "connection": "redis",
        "queue": "store",
        "payload": b'{"job":"x"}',
        "error": RuntimeError("boom"),
        "uuid": UUID,
        "key": None,
        "headers": [],
        "origin": f"store#{number}",
        "timestamp_ms": 5,
        **fields,
    }
    return failed_jobs.record(Failure(**given))


def test_the_id_is_the_number_of_the_row_and_its_uuid_is_written_too(failed_jobs: DatabaseFailedJobs) -> None:
    ids = [record(failed_jobs, number) for number in (1, 2)]

    with failed_jobs._rows._databases.engine().connect() as connection:
        rows = connection.execute(text("SELECT id, uuid FROM failed_jobs ORDER BY id")).all()
    assert ids == [str(row[0]) for row in rows] == ["1", "2"]
    assert rows[0][1] == UUID != rows[1][1]
    assert failed_jobs.ids() == ["2", "1"]


def test_a_message_that_fails_twice_is_one_job_with_a_new_number(failed_jobs: DatabaseFailedJobs) -> None:
    record(failed_jobs, 1)
    record(failed_jobs, 2)
    read = [*failed_jobs.records()]

    id = record(failed_jobs, 1, error=RuntimeError("again"))

    assert (id, failed_jobs.ids()) == ("3", ["3", "2"])
    assert failed_jobs.forget(read) == 1
    assert failed_jobs.ids() == ["3"]


def test_records_are_found_by_their_numbers_and_by_ranges_of_them(failed_jobs: DatabaseFailedJobs) -> None:
    for number in range(1, 8):
        record(failed_jobs, number)

    named = failed_jobs.records(ids=["5", UUID, "x", "99999999999999999999", "2", "5"])
    ranged = failed_jobs.records(Wanted(numbers=((1, 2), (2, 3), (6, 10**17))))

    assert [found.id for found in named] == ["5", "2"]
    assert [found.id for found in ranged] == ["7", "6", "3", "2", "1"]
    found = failed_jobs.find("5")
    assert found is not None
    assert (found.id, found.origin) == ("5", "store#5")


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_a_migration_that_is_made_keeps_any_job(tmp_path: Path, kind: str) -> None:
    manager = empty_database(kind, tmp_path)
    make(tmp_path / "migrations", "create_dead_jobs_table", template=TEMPLATE % '"dead_jobs"')
    migrator = Migrator(manager.engine(), tmp_path / "migrations")
    migrator.migrate(lambda name, seconds: None)
    failed_jobs = DatabaseFailedJobs(manager, database=None, table="dead_jobs", has_numbers=True)
    payload = "\U0001f600".encode() * 50_000

    job = failed_jobs.find(record(failed_jobs, 1, payload=payload, key=b"\xff" * 70_000, uuid="x" * 36))

    assert job is not None
    assert (job.id, job.payload, job.key) == ("1", payload, b"\xff" * 70_000)
    assert migrator.rollback(lambda name, seconds: None) == 1
    manager.dispose()
