"""Workers as processes, on each database."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, create_engine, make_url, text

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.store import DatabaseStore
from tests.harness import PROBE_JOBS, Project
from tests.lamplighter.queue.drivers.database.conftest import POSTGRESQL, url_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

GOLDEN = json.loads((Path(__file__).parents[4] / "golden/payloads_database_v12.json").read_text())["rows"]

JOBS = (
    PROBE_JOBS
    + '''

@dataclass(frozen=True)
class Store(Job):
    """The job of Laravel's golden rows; fails while there is no file `works`."""

    name = "job.data.store"

    n: int

    def handle(self, delivery: Delivery) -> None:
        note("stored", n=self.n, attempts=delivery.attempts)
        if not Path("works").exists():
            raise RuntimeError("boom")
'''
)


@contextmanager
def closing_engine(url: str) -> Iterator[Connection]:
    """A connection to PostgreSQL that nothing is left of."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class Scene:
    """A project whose queue is a table, and what the test knows of it."""

    def __init__(self, folder: Path, kind: str) -> None:
        environment = {"QUEUE_CONNECTION": "database", "DB_QUEUE_RETRY_AFTER": "2"}
        if kind == "sqlite":
            options = {"driver": "sqlite", "database": str(folder / "database/database.sqlite")}
        else:
            driver = {"postgresql": "pgsql"}.get(kind, kind)
            url = url_of(kind)
            if kind == "postgresql":
                self.schema = f"queue_{uuid.uuid4().hex[:8]}"
                with closing_engine(url) as connection:
                    connection.execute(text(f"CREATE SCHEMA {self.schema}"))
                url = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{self.schema}"
            options = {"driver": driver, "url": url}
            environment |= {"DB_CONNECTION": driver, "DB_URL": url}
        self.kind = kind
        self.project = Project(folder, environment=environment, jobs=JOBS)
        settings = {"database": {"default": "main", "connections": {"main": options}}}
        self.databases = DatabaseManager(Repository(settings), Path)
        if kind == "mysql":
            self._drop_all()
        self.project.artisan("migrate", "--force")
        self.store = DatabaseStore(self.databases, "database", database=None, table="jobs", seconds=2)
        self._workers: list[subprocess.Popen[str]] = []

    def push(self, *data: dict[str, Any], queue: str = "default", **envelope: Any) -> None:
        """Push probes."""
        body = {"displayName": "probe", "job": "probe", "maxTries": None, "timeout": None, **envelope}
        self.store.push(queue, [Message(json.dumps({**body, "data": each}).encode()) for each in data], 0)

    def worker(self, *options: str) -> subprocess.Popen[str]:
        """Start a worker."""
        return self.project.worker(*options, connection="database")

    def rows(self, query: str = "SELECT * FROM jobs ORDER BY id") -> list[dict[str, Any]]:
        """What a query finds."""
        with self.databases.engine().connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def until(self, is_so: Callable[[], object], *, seconds: float = 60) -> None:
        """Wait until something is so."""
        until = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < until, self.project.log()[-5000:]
            time.sleep(0.02)

    def close(self) -> None:
        """Leave nothing."""
        self.project.close()
        self.store.close()
        if self.kind == "postgresql":
            with self.databases.engine().begin() as connection:
                connection.execute(text(f"DROP SCHEMA {self.schema} CASCADE"))
        if self.kind == "mysql":
            self._drop_all()
        self.databases.dispose()

    def _drop_all(self) -> None:
        with self.databases.engine().begin() as connection:
            there = MetaData()
            there.reflect(connection)
            there.drop_all(connection)


@pytest.fixture
def scene(tmp_path: Path, kind: str) -> Iterator[Scene]:
    """A project with a table."""
    folder = tmp_path / "project"
    folder.mkdir()
    scene = Scene(folder, kind)
    yield scene
    scene.close()


def test_a_job_of_laravels_fails_and_is_retried_with_the_columns_of_laravel(scene: Scene) -> None:
    payload = GOLDEN["after_push"][0]["payload"]
    objects = GOLDEN["after_push"][2]["payload"]  # a serialized object of PHP
    scene.store.push("default", [Message(payload.encode()), Message(objects.encode())], 0)

    scene.worker("--tries=2", "--stop-when-empty").wait(60)
    failed = scene.rows("SELECT uuid, connection, queue, payload FROM failed_jobs ORDER BY id")
    (scene.project.folder / "works").touch()
    scene.project.artisan("queue:retry", "00000000-0000-4000-8000-000000000025")
    [retried] = scene.rows()
    scene.worker("--stop-when-empty").wait(60)

    assert sorted((row["connection"], row["queue"], row["payload"]) for row in failed) == sorted(
        [("database", "default", payload), ("database", "default", objects)]
    )
    assert {**retried, "id": 0, "available_at": 0, "created_at": 0} == {
        "id": 0,
        "queue": "default",
        "payload": payload,
        "attempts": 0,
        "reserved_at": None,
        "available_at": 0,
        "created_at": 0,
    }
    assert [event["attempts"] for event in scene.project.events("stored")] == [1, 2, 1]
    assert scene.rows() == []


def test_a_job_of_three_leases_runs_once_beside_another_worker(scene: Scene) -> None:
    scene.push({"n": 1, "sleep": 6})
    workers = [scene.worker("--sleep=0.1") for _ in range(2)]

    scene.until(lambda: scene.project.events("end"))
    scene.until(lambda: not scene.rows())

    assert len(scene.project.events("start")) == 1
    for worker in workers:
        worker.terminate()
        assert worker.wait(20) == 0


def test_workers_that_are_killed_lose_no_job(scene: Scene) -> None:
    scene.push(*({"n": n, "sleep": 0.01} for n in range(300)))
    workers = [scene.worker("--tries=9") for _ in range(2)]

    for kills in range(1, 7):
        scene.until(lambda kills=kills: len(scene.project.events("end")) >= kills * 40)  # type: ignore[misc]
        worker = workers.pop(0)
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
        workers.append(scene.worker("--tries=9"))
    scene.until(lambda: not scene.rows())

    ends = scene.project.numbers("end")
    assert set(ends) == set(range(300))
    assert len(ends) - 300 <= 6
    assert scene.rows("SELECT * FROM failed_jobs") == []


def test_a_job_that_kills_its_worker_ends_after_its_tries(scene: Scene) -> None:
    scene.push({"n": 1, "exit": 9}, {"n": 2})

    for _ in range(2):
        scene.until(
            lambda: any(row["reserved_at"] is None for row in scene.rows()) or scene.worker("--tries=2").wait(60)
        )
    scene.until(lambda: scene.worker("--tries=2", "--stop-when-empty").wait(60) == 0 and not scene.rows())

    assert [event["attempts"] for event in scene.project.events("start") if event["n"] == 1] == [1, 2]
    assert scene.project.numbers("end") == [2]
    assert len(scene.rows("SELECT * FROM failed_jobs")) == 1


def test_no_low_job_starts_while_a_high_one_waits(scene: Scene) -> None:
    scene.push(*({"n": n} for n in range(100, 150)), queue="low")
    scene.push(*({"n": n} for n in range(50)), queue="high")

    scene.worker("--queue=high,low", "--stop-when-empty").wait(60)

    assert scene.project.numbers("start") == [*range(50), *range(100, 150)]


def test_eight_workers_meet_no_error(scene: Scene) -> None:
    scene.push(*({"n": n} for n in range(2000)))

    for worker in [scene.worker("--stop-when-empty") for _ in range(8)]:
        assert worker.wait(100) == 0

    ends = scene.project.numbers("end")
    assert sorted(ends) == list(range(2000))
    assert "WARN" not in scene.project.log().upper()
    assert "deadlock" not in scene.project.log().lower()
    assert scene.rows() == []


@pytest.mark.parametrize("pool", ["thread", "process", "async"])
def test_many_slots_share_the_table(scene: Scene, pool: str) -> None:
    scene.push(*({"n": n, "sleep": 0.01} for n in range(200)))

    worker = scene.worker("--concurrency=8", f"--pool={pool}", "--stop-when-empty")

    assert worker.wait(60) == 0
    assert sorted(scene.project.numbers("end")) == list(range(200))
    assert scene.rows() == []


@pytest.mark.parametrize("kind", POSTGRESQL)
def test_a_server_that_is_killed_loses_no_job(scene: Scene) -> None:
    control = os.environ.get("POSTGRES_TEST_CTL")
    if not control:
        pytest.skip("the PostgreSQL here can't be stopped: set POSTGRES_TEST_CTL to its pg_ctl -D ...")
    scene.push(*({"n": n, "sleep": 0.01} for n in range(300)))
    workers = [scene.worker("--tries=9") for _ in range(2)]
    scene.until(lambda: len(scene.project.events("end")) >= 60)

    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*as_owner, *control.split(), "-m", "immediate", "stop"], check=True, timeout=30)
    time.sleep(1)
    subprocess.run(
        [*as_owner, *control.split(), "-w", "-l", "/dev/null", "start"], check=True, timeout=60, capture_output=True
    )
    scene.until(lambda: not scene.rows())

    ends = scene.project.numbers("end")
    assert set(ends) == set(range(300))
    for worker in workers:
        worker.terminate()
        assert worker.wait(20) == 0
