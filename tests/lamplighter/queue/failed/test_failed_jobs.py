"""Failed jobs are kept with all that is needed to run them again."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.errors import ConfigError, MigrationError
from lamplighter.queue.failed import FailedJobs, FailedRecord, Failure, NullFailedJobs, database
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.database import DatabaseFailedJobs
from lamplighter.queue.failed.stores import make_failed_jobs
from lamplighter.queue.failed.trace import MAX_BYTES, format_trace
from tests.databases import KINDS, empty_database

ROOT = Path(__file__).parents[4]
UUID = "edf807ea-4b9a-47d9-bb6a-7e46844ad31f"


@pytest.fixture(params=KINDS)
def failed_jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseFailedJobs]:
    """An empty store."""
    manager = empty_database(request.param, tmp_path)
    Migrator(manager.engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    yield DatabaseFailedJobs(manager, database=None, table="failed_jobs")
    manager.dispose()


def failure(payload: bytes = b'{"job":"x"}', **fields: Any) -> Failure:
    """What is told of a job that has failed."""
    given: dict[str, Any] = {
        "connection": "kafka",
        "queue": "store",
        "payload": payload,
        "error": RuntimeError("boom"),
        "uuid": None,
        "key": b"k",
        "headers": [],
        "origin": "store[0]@7",
        "timestamp_ms": 5,
        **fields,
    }
    return Failure(**given)


def record(failed_jobs: FailedJobs, payload: bytes = b'{"job":"x"}', **fields: Any) -> str:
    """Keep a job."""
    return failed_jobs.record(failure(payload, **fields))


def execute(failed_jobs: DatabaseFailedJobs, statement: str, **values: Any) -> None:
    """What others do to the table."""
    with failed_jobs._rows._databases.engine().begin() as connection:
        connection.execute(text(statement), values)


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\xfe", b'{"a":"\x00"}', "ünï 😀".encode(), b"x" * 2_000_000])
@pytest.mark.parametrize("key", [None, b"", b"\xff\x00", b"k" * 5000])
def test_bytes_come_back_as_they_were(failed_jobs: DatabaseFailedJobs, payload: bytes, key: bytes | None) -> None:
    headers = [("a", b"\x00\xff"), ("a", b""), ("b", None)]

    found = failed_jobs.find(record(failed_jobs, payload, key=key, headers=headers))

    assert found is not None
    assert (found.payload, found.key, list(found.headers)) == (payload, key, headers)


def test_the_same_job_is_kept_once(failed_jobs: DatabaseFailedJobs) -> None:
    ids = [record(failed_jobs, uuid=UUID, error=RuntimeError(word)) for word in ("first", "second")]

    jobs = list(failed_jobs.all())

    assert ids == [UUID, UUID]
    assert len(jobs) == 1
    assert "second" in jobs[0].exception


def test_a_message_without_uuid_has_one_of_its_own_for_ever(failed_jobs: DatabaseFailedJobs) -> None:
    same = {record(failed_jobs), record(failed_jobs)}
    others = {
        record(failed_jobs, origin="store[0]@8"),
        record(failed_jobs, b"other"),
        record(failed_jobs, timestamp_ms=6),
    }

    assert (len(same), len(same | others)) == (1, 4)


def test_the_newest_comes_first_over_all_pages(failed_jobs: DatabaseFailedJobs) -> None:
    for number in range(45):
        record(failed_jobs, uuid=f"job-{number}")

    assert [job.id for job in failed_jobs.all()] == [f"job-{number}" for number in reversed(range(45))]


def test_forgetting_and_flushing(failed_jobs: DatabaseFailedJobs) -> None:
    record(failed_jobs, uuid="a")
    record(failed_jobs, uuid="b")
    read = [*failed_jobs.records(ids=["a"])]

    assert (failed_jobs.forget(read), failed_jobs.forget(read)) == (1, 0)
    assert (failed_jobs.flush(hours=1), failed_jobs.flush()) == (0, 1)


def test_records_are_found_by_their_ids_in_the_order_asked_for(failed_jobs: DatabaseFailedJobs) -> None:
    for id in "abc":
        record(failed_jobs, uuid=id)

    records = [*failed_jobs.records(ids=["c", "none", "a", "c"])]

    assert [found.id for found in records] == ["c", "a"]
    assert [job.id for job in failed_jobs.read(records)] == ["c", "a"]


def test_what_has_failed_again_since_it_was_read_is_not_deleted(failed_jobs: DatabaseFailedJobs) -> None:
    record(failed_jobs, uuid=UUID, error=RuntimeError("first"))
    read = [*failed_jobs.records()]
    record(failed_jobs, uuid=UUID, error=RuntimeError("second"))

    jobs, count = list(failed_jobs.read(read)), failed_jobs.forget(read)

    assert (jobs, count) == ([], 0)
    [left] = failed_jobs.all()
    assert (left.id, "second" in left.exception) == (UUID, True)


def test_a_row_that_has_the_number_of_a_deleted_one_is_another(failed_jobs: DatabaseFailedJobs) -> None:
    record(failed_jobs, uuid=UUID)
    read = [*failed_jobs.records()]
    failed_jobs.flush()
    record(failed_jobs, uuid=UUID, origin="store[0]@8")
    execute(failed_jobs, "UPDATE failed_jobs SET id = :id", id=read[0].version.number)

    assert (failed_jobs.forget(read), failed_jobs.ids()) == (0, [UUID])


def test_what_fails_while_all_are_flushed_stays(
    failed_jobs: DatabaseFailedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in "abc":
        record(failed_jobs, uuid=id, origin=f"store[0]@{id}")
    forget = failed_jobs._forget

    def work_beside(records: Sequence[FailedRecord]) -> int:
        count = forget(records)
        # The same message once more, a retried one, and one that has never failed before.
        for uuid, origin in (("a", "store[0]@a"), ("b", "store[0]@9"), ("d", "store[0]@d")):
            record(failed_jobs, uuid=uuid, origin=origin)
        return count

    monkeypatch.setattr(database, "CHUNK", 1)
    monkeypatch.setattr(failed_jobs, "_forget", work_beside)

    count = failed_jobs.flush()

    assert count == 2  # a has failed again before its turn
    assert len(failed_jobs.ids()) == 3
    assert {job.origin for job in failed_jobs.all()} == {"store[0]@a", "store[0]@9", "store[0]@d"}


def test_rows_that_php_has_written_are_read_and_deleted(failed_jobs: DatabaseFailedJobs) -> None:
    columns = "uuid, connection, queue, payload, exception, failed_at"
    for uuid, at in (("old", "2019-01-01 10:00:00"), ("older", "2018-01-01 10:00:00")):
        execute(
            failed_jobs,
            f"INSERT INTO failed_jobs ({columns}) VALUES (:uuid, 'redis', 'default', '{{}}', 'boom', :at)",
            uuid=uuid,
            at=at,
        )
    [job, _] = failed_jobs.read([*failed_jobs.records(ids=["old", "older"])])

    counts = failed_jobs.forget([job]), failed_jobs.flush(hours=1)

    assert (job.id, job.origin, job.failed_at) == ("old", None, datetime(2019, 1, 1, 10, tzinfo=UTC))
    assert counts == (1, 1)


def test_a_trace_is_bounded_and_holds_no_values() -> None:
    def deep(secret: str, left: int) -> None:
        if left:
            deep(secret, left - 1)
        raise ValueError("x" * 40_000)

    try:
        deep("hunter" + str(2), 5)
    except ValueError as error:
        trace = format_trace(error)

    assert len(trace.encode()) <= MAX_BYTES
    assert "hunter2" not in trace
    assert trace.startswith("Traceback")


@pytest.mark.parametrize(
    ("payload", "again"),
    [
        (b'{"job":"x","attempts":3,"data":{"attempts":7}}', b'{"job":"x","attempts":0,"data":{"attempts":7}}'),
        (b'{"job":"x","data":{"attempts":7}}', b'{"job":"x","data":{"attempts":7}}'),
        (b'{ "attempts": 0 , "a":1.0}', b'{ "attempts": 0 , "a":1.0}'),
        (b'{"a":1.50,"attempts":1,"b":"\\u00fc\\/"}', b'{"a":1.50,"attempts":0,"b":"\\u00fc\\/"}'),
        (b"\xff", b"\xff"),
    ],
)
def test_a_retry_begins_from_zero_and_changes_nothing_else(payload: bytes, again: bytes) -> None:
    assert without_attempts(payload) == again


def test_the_same_bytes_at_another_place_are_another_failed_job(failed_jobs: DatabaseFailedJobs) -> None:
    places: list[dict[str, Any]] = [
        {},
        {"queue": "audit", "origin": "audit[0]@7"},
        {"connection": "other"},
        {"origin": "store[0]@8"},
        {"origin": "store[1]@7", "key": b"other"},
    ]
    kept = [record(failed_jobs, uuid=UUID, **place) for place in places]

    again = [record(failed_jobs, uuid=UUID, **place) for place in places]

    assert kept[0] == UUID
    assert len(set(kept)) == len(places)
    assert again == kept
    assert sorted(failed_jobs.ids()) == sorted(kept)


def test_a_record_keeps_its_id_when_that_of_its_payload_is_free_again(failed_jobs: DatabaseFailedJobs) -> None:
    record(failed_jobs, uuid=UUID)
    second = record(failed_jobs, uuid=UUID, origin="store[0]@8")
    failed_jobs.forget([*failed_jobs.records(ids=[UUID])])

    again = record(failed_jobs, uuid=UUID, origin="store[0]@8")

    assert again == second != UUID
    assert failed_jobs.ids() == [second]


def test_a_sender_that_takes_the_ids_of_others_costs_no_job(failed_jobs: DatabaseFailedJobs) -> None:
    victim = failure(uuid=UUID)
    kept = [
        record(failed_jobs, b"hostile", uuid=victim.identity, origin="store[0]@1"),
        record(failed_jobs, b"hostile", uuid=UUID.upper(), origin="store[0]@2"),
        failed_jobs.record(victim),
    ]

    assert len(set(kept)) == 3
    assert sorted(failed_jobs.ids()) == sorted(kept)


@pytest.mark.parametrize("uuid", ["", "all", "-v", "a b", "x" * 37, "\x00", "\ud800", "a\n"])
def test_a_uuid_that_no_one_could_type_is_not_taken(failed_jobs: DatabaseFailedJobs, uuid: str) -> None:
    id = record(failed_jobs, uuid=uuid)

    assert (len(id), failed_jobs.ids()) == (36, [id])


def test_a_store_goes_on_when_its_table_is_there_at_last(failed_jobs: DatabaseFailedJobs) -> None:
    engine = failed_jobs._rows._databases.engine()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE failed_jobs RENAME TO away"))
    with pytest.raises(MigrationError, match="run `migrate`"):
        record(failed_jobs)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO failed_jobs"))

    id = record(failed_jobs)

    assert failed_jobs.ids() == [id]


def test_threads_that_record_the_same_job_keep_it_once(failed_jobs: DatabaseFailedJobs) -> None:
    barrier = threading.Barrier(4)
    ended = []

    def work() -> None:
        barrier.wait(10)
        for _ in range(5):
            ended.append(record(failed_jobs, uuid=UUID))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert ended == [UUID] * 20
    assert failed_jobs.ids() == [UUID]


def test_threads_that_record_different_jobs_of_one_uuid_keep_each(failed_jobs: DatabaseFailedJobs) -> None:
    barrier = threading.Barrier(4)
    ended = []

    def work(number: int) -> None:
        barrier.wait(10)
        for place in range(5):
            ended.append(record(failed_jobs, uuid=f"job-{place}", origin=f"store[{number}]@{place}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(set(ended)) == 20
    assert sorted(failed_jobs.ids()) == sorted(ended)
    assert {f"job-{place}" for place in range(5)} <= set(ended)


def test_each_record_that_threads_write_is_deleted_by_who_has_read_it_or_left(failed_jobs: DatabaseFailedJobs) -> None:
    def work(number: int) -> None:
        for place in range(25):
            record(failed_jobs, uuid=f"job-{place % 3}", origin=f"store[{number}]@{place}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    deleted: list[str | None] = []
    while any(thread.is_alive() for thread in threads):
        read = [*failed_jobs.records()]
        deleted += [each.origin for each in read]
        assert failed_jobs.forget(read) == len(read)

    left = [each.origin for each in failed_jobs.records()]
    assert Counter(deleted + left) == Counter(f"store[{number}]@{place}" for number in range(3) for place in range(25))


def test_a_cause_is_part_of_the_trace_and_nothing_in_it_steers_a_terminal() -> None:
    error = ValueError("\x1b[2J\x00")
    error.__cause__ = KeyError("why")

    trace = format_trace(error)

    assert trace.startswith("KeyError: 'why'")
    assert trace.endswith("ValueError: \\x1b[2J\\x00\n")


def test_only_an_explicit_null_keeps_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Repository({"database": {"default": "test", "connections": {"test": {"driver": "sqlite"}}}})
    manager = DatabaseManager(settings, lambda path: tmp_path / path)

    kinds = [type(make_failed_jobs({"driver": driver}, lambda: manager)) for driver in ("", "database", "null", None)]
    record(NullFailedJobs())

    assert kinds == [DatabaseFailedJobs, DatabaseFailedJobs, NullFailedJobs, NullFailedJobs]
    assert [entry.levelname for entry in caplog.records] == ["ERROR"]


def test_a_connection_that_is_not_there_is_told_before_a_job_fails(tmp_path: Path) -> None:
    manager = DatabaseManager(Repository({"database": {"default": "a", "connections": {}}}), lambda path: tmp_path)

    with pytest.raises(ConfigError, match=r"config/database\.py has no connection 'b'"):
        make_failed_jobs({"driver": "database", "database": "b"}, lambda: manager)
