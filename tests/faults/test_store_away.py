"""The failed-job store is away, or locked, while workers end: what has failed waits for its record."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.fleet import POOLS, TWO
from tests.faults.mock import Mock
from tests.harness import Project, stop, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

WAITS = "a failed job can't be recorded"


@pytest.fixture
def project(tmp_path: Path, mock: Mock) -> Iterator[Project]:
    """A project with one job that fails for good."""
    topic = mock.topic("away", partitions=1)
    environment = {
        "KAFKA_BROKERS": mock.address,
        "KAFKA_QUEUE": topic,
        "KAFKA_CONSUMER_GROUP_ID": topic,
        "DB_DATABASE": str(tmp_path / "database.sqlite"),
        "LOG_LEVEL": "info",
    }
    project = Project(tmp_path, environment=environment)
    project.configure(consumer_options={"fetch.wait.max.ms": 10})
    project.artisan("migrate", "--force")
    mock.jobs(topic, {"n": 1, "fail_until": 99})
    yield project
    project.close()


def records(project: Project) -> list[str]:
    """The traces of the failed jobs."""
    with closing(sqlite3.connect(project.environment["DB_DATABASE"], timeout=30)) as connection:
        return [trace for (trace,) in connection.execute("select exception from failed_jobs")]


@pytest.mark.parametrize("tries", [1, 3])
@pytest.mark.parametrize("pool", TWO)
def test_workers_that_end_while_the_store_is_away_start_and_count_nothing(
    project: Project, pool: str, tries: int
) -> None:
    """Invariant: its own error is recorded, its failed() called once, however many workers have ended meanwhile."""
    database = project.environment["DB_DATABASE"]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("alter table failed_jobs rename to gone")
    for number in range(4):
        log = f"worker-{number}.log"
        worker = project.worker(*POOLS[pool], f"--tries={tries}", log=log)
        wait_for(lambda log=log: WAITS in project.log(log), seconds=60, what=log)  # type: ignore[misc]
        assert stop(worker) == 0, project.log(log)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("alter table gone rename to failed_jobs")

    assert project.worker(*POOLS[pool], f"--tries={tries}", "--stop-when-empty", "--sleep=1").wait(60) == 0

    assert [line["attempts"] for line in project.events("start")] == list(range(1, tries + 1))
    assert len(project.events("failed")) == 1
    assert [trace.count("RuntimeError: boom 1") > 0 for trace in records(project)] == [True]
    assert "died" not in project.log()


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_ends_while_sqlite_is_locked_and_blames_no_broker(project: Project, pool: str) -> None:
    """Invariant: exit by the deadline, the job is recorded by the next worker with its own error."""
    worker = project.worker(*POOLS[pool], "--shutdown-timeout=8")
    wait_for(lambda: "partitions assigned" in project.log(), seconds=60)
    with closing(sqlite3.connect(project.environment["DB_DATABASE"])) as connection:
        connection.execute("begin exclusive")
        wait_for(lambda: project.events("start"))
        moment = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > moment)

        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        status = worker.wait(40)
        took = time.monotonic() - began

    assert (status, took < 11) == (0, True), project.log()
    assert "broker did not answer" not in project.log()
    assert project.worker(*POOLS[pool], "--stop-when-empty", "--sleep=1", log="heir.log").wait(60) == 0
    assert len(project.events("start")) == len(project.events("failed")) == 1
    assert ["RuntimeError: boom 1" in trace for trace in records(project)] == [True]
