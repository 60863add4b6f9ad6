"""Failed jobs of connections whose stores lease jobs: which is which, and how they go back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from lamplighter.database.migrations import Migrator
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery, Settling
from lamplighter.queue.drivers.leasing.store import How, Lease
from lamplighter.queue.failed import FailedJobs, Failure
from lamplighter.queue.failed.database import DatabaseFailedJobs
from tests.databases import empty_database

ROOT = Path(__file__).parents[4]
MIGRATIONS = str(ROOT / "database/migrations")
PAYLOAD = '{"uuid":"u-1","displayName":"boom","job":"boom","data":{}}'
DATABASE = """
config = {"default": "main", "connections": {"main": {"driver": "sqlite", "database": "main.sqlite"}}}
"""
CACHE = 'config = {"default": "array", "stores": {"array": {"driver": "array"}}}'
QUEUE = """
config = {
    "default": "memory",
    "connections": {"memory": {"driver": "memory"}, "other": {"driver": "memory", "queue": "orders"}},
    "failed": {"driver": "%s", "path": "failed/jobs.json"},
}
"""


class Nowhere:
    """Where leases end that nobody looks at."""

    connection = "redis"

    def end(self, delivery: LeasedDelivery, how: How, delay: float = 0.0) -> None:
        """It ends."""

    hold = put_back = end


def failure(delivery: LeasedDelivery) -> Failure:
    """What the worker tells of a delivery that has failed."""
    return Failure(
        connection=delivery.connection,
        queue=delivery.queue,
        payload=delivery.payload,
        error=RuntimeError("boom"),
        uuid="u-1",
        key=delivery.key,
        headers=delivery.headers,
        origin=delivery.position,
        timestamp_ms=delivery.timestamp_ms,
    )


def delivery(payload: bytes, **fields: Any) -> LeasedDelivery:
    """One start of a job."""
    return LeasedDelivery(Lease("store", payload, None, **fields), cast(Settling, Nowhere()))


@pytest.fixture
def failed_jobs(tmp_path: Path) -> Iterator[FailedJobs]:
    """An empty table."""
    manager = empty_database("sqlite", tmp_path)
    Migrator(manager.engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    yield DatabaseFailedJobs(manager, database=None, table="failed_jobs")
    manager.dispose()


def test_a_job_whose_store_counts_starts_in_its_payload_is_one_failed_job(failed_jobs: FailedJobs) -> None:
    starts = [delivery(b'{"uuid":"u-1","job":"x","id":"i","attempts":%d}' % count) for count in (1, 2)]

    # Its worker died between the record and the end of the lease.
    ids = [failed_jobs.record(failure(start)) for start in starts]

    assert ids == ["u-1", "u-1"]
    [job] = failed_jobs.all()
    assert (job.payload, job.origin) == (starts[1].payload, starts[0].position)


def test_messages_without_an_id_that_have_the_same_bytes_are_failed_jobs_each(failed_jobs: FailedJobs) -> None:
    for each in (delivery(b'{"job":"x"}'), delivery(b'{"job":"x"}'), delivery(b"\xff"), delivery(b"\xff")):
        assert each.position == each.position
        failed_jobs.record(failure(each))

    assert len(failed_jobs.ids()) == 4


def test_a_mark_of_the_store_is_the_position_whatever_the_bytes(failed_jobs: FailedJobs) -> None:
    first = delivery(b"\xff", mark="17", timestamp_ms=5)

    ids = {failed_jobs.record(failure(first)), failed_jobs.record(replace(failure(first), error=ValueError()))}

    assert (first.position, len(ids), len(failed_jobs.ids())) == ("store#17", 1, 1)


JOB = """
from dataclasses import dataclass
from pathlib import Path

from lamplighter import Delivery, Job


@dataclass(frozen=True)
class Boom(Job):
    name = "boom"

    def handle(self, delivery: Delivery) -> None:
        with Path("starts").open("a") as file:
            file.write(str(delivery.attempts))
        raise RuntimeError("boom")
"""


# The jobs are in the memory of one process, which the worker ends.
LIFE = """
import sys
from pathlib import Path
from lamplighter.cache.provider import CacheServiceProvider
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.database.provider import DatabaseServiceProvider
from lamplighter.foundation.application import Application
from lamplighter.foundation.provider import FoundationServiceProvider
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.provider import QueueServiceProvider

providers = [FoundationServiceProvider, CacheServiceProvider, DatabaseServiceProvider, QueueServiceProvider]
app = Application(Path.cwd(), providers=providers).bootstrap()
if len(sys.argv) > 1:
    Migrator(app.make(DatabaseManager).engine(), Path(sys.argv[1])).migrate(lambda name, seconds: None)
    message = Message(sys.argv[2].encode(), b"key", [("trace", b"1")])
    app.make(QueueManager).connection("other").push(message, queue="special")
else:
    assert app.run(["queue:retry", "all"]) == 0
app.run(["queue:work", "other", "--queue=special", "--tries=2", "--stop-when-empty"])
"""

SHOW = """
import json
from pathlib import Path
from lamplighter.database.provider import DatabaseServiceProvider
from lamplighter.foundation.application import Application
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.provider import QueueServiceProvider

app = Application(Path.cwd(), providers=[DatabaseServiceProvider, QueueServiceProvider]).bootstrap()
for job in app.make(FailedJobs).all():
    place = [job.connection, job.queue, job.origin]
    print(json.dumps([*place, job.payload.decode(), job.key.decode(), job.headers[0][0]]))
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("driver", ["database-uuids", "database", "file"])
def test_a_retried_job_goes_back_to_its_own_connection_and_queue_with_all_its_tries(
    tmp_path: Path, driver: str
) -> None:
    lay_out(tmp_path, driver)
    told = ["other", "special", "special#1", PAYLOAD, "key", "trace"]

    run(tmp_path, LIFE, MIGRATIONS, PAYLOAD)
    failed = run(tmp_path, SHOW)
    run(tmp_path, LIFE)
    failed_again = run(tmp_path, SHOW)

    assert [json.loads(failed), json.loads(failed_again)] == [told, told]
    assert (tmp_path / "starts").read_text() == "1212"


@pytest.mark.slow
@pytest.mark.long
def test_a_job_stays_unsettled_while_the_file_can_not_be_written(tmp_path: Path) -> None:
    lay_out(tmp_path, "file")
    obstacle = tmp_path / "failed"
    obstacle.touch()  # where a folder has to be

    with subprocess.Popen(
        [sys.executable, "-c", LIFE, MIGRATIONS, PAYLOAD],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            assert worker.stderr is not None
            told = next((line for line in worker.stderr if "can't be recorded" in line), "")
            is_alive = worker.poll() is None
            obstacle.unlink()
            rest = worker.communicate(timeout=60)[1]
        finally:
            worker.kill()

    assert (told != "", is_alive, worker.returncode) == (True, True, 0), rest
    assert json.loads(run(tmp_path, SHOW))[:4] == ["other", "special", "special#1", PAYLOAD]
    # It was not run again for its record.
    assert (tmp_path / "starts").read_text() == "12"


def lay_out(folder: Path, driver: str) -> None:
    """Write an application."""
    for name, source in (
        ("config/cache.py", CACHE),
        ("config/database.py", DATABASE),
        ("config/queue.py", QUEUE % driver),
        ("app/__init__.py", ""),
        ("app/Jobs/__init__.py", ""),
        ("app/Jobs/boom.py", JOB),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)


def environment(folder: Path) -> dict[str, str]:
    """The environment of a program of that application."""
    return {**os.environ, "PYTHONPATH": str(folder), "APP_ENV": "testing"}


def run(folder: Path, program: str, *words: str) -> str:
    """What a program says that runs in a folder."""
    command = [sys.executable, "-c", program, *words]
    ended = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
