"""Jobs that Laravel has pushed are run, released, failed and retried by the commands, with Laravel's bytes."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.harness import Project

pytestmark = [pytest.mark.redis, pytest.mark.slow]
GOLDEN = Path(__file__).parents[4] / "golden"
JOB = json.loads((GOLDEN / "redis_cjson_roundtrip.json").read_text())
PUSHED = JOB["pushed"].encode()
VECTORS = json.loads((GOLDEN / "payloads_redis_v12.json").read_text())["vectors"]

JOBS = '''
"""A job that fails until a file lets it succeed."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lamplighter import Delivery, Job

LEDGER = Path(os.environ["LEDGER"])


@dataclass(frozen=True)
class StoreData(Job):
    """Writes down what came."""

    name = "job.data.store"

    def handle(self, delivery: Delivery) -> None:
        """Fail, or not."""
        line = {"event": "start", "data": json.loads(delivery.payload)["data"], "attempts": delivery.attempts}
        with LEDGER.open("a") as file:
            file.write(json.dumps(line) + "\\n")
        if not (LEDGER.parent / "succeed").exists():
            raise RuntimeError("it does not succeed yet")
'''


@pytest.fixture
def project(tmp_path: Path, client: "redis.Redis", prefix: str) -> Iterator[Project]:
    """An application whose queue is in the tests' Redis."""
    environment = {
        "QUEUE_CONNECTION": "redis",
        "REDIS_URL": os.environ["REDIS_TEST_URL"],
        "REDIS_PREFIX": prefix,
        "CACHE_STORE": "file",
    }
    project = Project(tmp_path, environment=environment, jobs=JOBS)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def test_a_job_is_run_released_failed_retried_and_done(project: Project, client: "redis.Redis", prefix: str) -> None:
    key = f"{prefix}queues:default"
    client.rpush(key, PUSHED)
    client.rpush(f"{key}:notify", 1)
    once = ("queue:work", "redis", "--once", "--tries=2", "--backoff=0")

    project.artisan(*once, check=False)

    released: Any = client.zrange(f"{key}:delayed", 0, -1)
    assert released == [PUSHED.replace(b'"attempts":0', b'"attempts":1')]
    assert client.keys(f"{prefix}*") == [f"{key}:delayed".encode()]

    project.artisan(*once, check=False)

    assert client.keys(f"{prefix}*") == []
    [failed] = json.loads(project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    assert (failed["connection"], failed["queue"]) == ("redis", "default")
    with closing(sqlite3.connect(project.folder / "database/database.sqlite")) as database:
        kept = database.execute("SELECT payload FROM failed_jobs").fetchall()
    assert kept == [(PUSHED.replace(b'"attempts":0', b'"attempts":1').decode(),)]

    project.artisan("queue:retry", "all")

    assert client.lrange(key, 0, -1) == [PUSHED]
    assert client.lrange(f"{key}:notify", 0, -1) == [b"1"]

    (project.folder / "succeed").touch()
    project.artisan("queue:work", "redis", "--stop-when-empty")

    assert client.keys(f"{prefix}*") == []
    assert [line["attempts"] for line in project.events()] == [1, 2, 1]
    expected = json.loads(PUSHED)["data"]
    assert all(line["data"] == expected for line in project.events())
    assert project.artisan("queue:failed").stdout.strip().endswith("No failed jobs found.")


def test_whatever_laravel_has_pushed_is_done_or_among_the_failed_jobs(
    project: Project, client: "redis.Redis", prefix: str
) -> None:
    (project.folder / "succeed").touch()
    pushed: list[Any] = []
    for vector in VECTORS:
        for key, entry in dict(vector["redis"] or {}).items():
            pushed += entry["values"] if entry["type"] == "list" and not key.endswith(":notify") else []
    client.rpush(f"{prefix}queues:default", *pushed)

    project.artisan("queue:work", "redis", "--stop-when-empty", "--tries=1")

    failed = json.loads(project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    runs = [one for one in pushed if json.loads(one).get("job") == "job.data.store"]
    assert client.keys(f"{prefix}*") == []
    assert len(project.events("start")) == len(runs) > 0
    assert len(failed) == len(pushed) - len(runs) > 10


def test_a_job_that_this_application_dispatches_has_laravel_s_payload(
    project: Project, client: "redis.Redis", prefix: str
) -> None:
    program = """
import sys
sys.path.insert(0, ".")
from bootstrap.app import create_app
app = create_app().bootstrap()
from app.Jobs.probe import StoreData
from lamplighter import dispatch
dispatch(StoreData())
"""
    done = project.python(program)

    assert done.returncode == 0, done.stderr
    [payload] = client.lrange(f"{prefix}queues:default", 0, -1)
    [golden] = [vector for vector in VECTORS if vector["name"] == "string_job"]
    assert list(json.loads(payload)) == list(golden["decoded"][0])
    assert client.lrange(f"{prefix}queues:default:notify", 0, -1) == [b"1"]
