"""Workers that are killed again and again, and a server that is: no job is lost."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore
from lamplighter.queue.jobs.payload import new_id, write
from tests.harness import Project, wait_for
from tests.lamplighter.queue.drivers.redis.servers import OwnRedis, server_of

pytestmark = [pytest.mark.redis, pytest.mark.slow]
IS_LONG = os.environ.get("FAULTS") == "long"
KILLS, JOBS = (100, 10_000) if IS_LONG else (4, 400)
SEED = random.SystemRandom().getrandbits(32)


@pytest.fixture
def project(tmp_path: Path, own_redis: OwnRedis) -> Iterator[Project]:
    """An application whose queue is on a server of its own."""
    environment = {
        "QUEUE_CONNECTION": "redis",
        "REDIS_URL": f"redis://127.0.0.1:{own_redis.port}",
        "REDIS_PREFIX": "t-",
        "REDIS_QUEUE_RETRY_AFTER": "1",
        "CACHE_STORE": "file",
        "QUEUE_FAILED_DRIVER": "null",
    }
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, environment=environment)
    yield project
    project.close()


def jobs(first: int, last: int) -> list[Message]:
    """Jobs of 20 ms."""
    return [Message(write("probe", {"n": n, "sleep": 0.02}, id=new_id())) for n in range(first, last)]


def start(project: Project) -> "subprocess.Popen[bytes]":
    """Start a worker."""
    with (project.folder / "worker.log").open("a") as log:
        command = [sys.executable, "artisan.py", "queue:work", "redis", "--tries=0", "--pool=thread", "-c", "4"]
        return subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=log, stderr=log)


@pytest.mark.parametrize("victim", ["workers", "the server"])
def test_no_job_is_lost(project: Project, own_redis: OwnRedis, victim: str) -> None:
    chance = random.Random(SEED)
    kills = KILLS if victim == "workers" else max(2, KILLS // 10)
    store = RedisStore(server_of(own_redis.client(), "t-"), RedisOptions(driver="redis"))
    workers = [start(project) for _ in range(2)]
    try:
        for number in range(kills):
            begun = len(project.events("start"))
            store.push("default", jobs(number * JOBS // kills, (number + 1) * JOBS // kills), 0)
            wait_for(lambda begun=begun: len(project.events("start")) > begun)  # type: ignore[misc]
            if victim == "workers":
                killed = workers.pop(chance.randrange(2))
                killed.kill()
                killed.wait(10)
                workers.append(start(project))
            else:
                own_redis.signal(signal.SIGKILL)
                own_redis.start()
        wait_for(lambda: len(set(project.numbers("end"))) == JOBS, seconds=120, what=f"all {JOBS} (seed {SEED})")
        wait_for(lambda: own_redis.client().keys("*queues:*") == [], seconds=30, what="an empty queue")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(10)

    ends = Counter(project.numbers("end"))
    assert sorted(ends) == list(range(JOBS))
    # What was in hand of a worker that was killed, or whose end the server did not keep, runs again: four a worker.
    twice = sum(count - 1 for count in ends.values())
    print(f"{kills} kills of {victim}, {JOBS} jobs: {twice} ran twice")  # noqa: T201
    assert twice <= kills * 8
