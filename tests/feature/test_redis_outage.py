"""A Redis that is stopped, killed or frozen while jobs are dispatched: they go to the table of a database, and back."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PROBE_JOBS, Project, wait_for
from tests.lamplighter.queue.drivers.redis.servers import OwnRedis

pytestmark = [pytest.mark.redis, pytest.mark.long]

TIMEOUT = 3.0
THREADS = 4
JOBS = PROBE_JOBS.replace('note("end", n=self.n,', 'note("end", n=self.n, connection=delivery.connection,')
CONNECTIONS = """
config["connections"]["failover"] = {"driver": "failover", "connections": ["redis", "database"], "break_for": 1}
"""
TIMEOUTS = f"""
config["redis"]["default"].update(timeout={TIMEOUT}, read_timeout={TIMEOUT})
"""
DISPATCHER = f"""
import itertools, json, threading, time
from pathlib import Path
from bootstrap.app import create_app
from lamplighter import Dispatcher
dispatcher = create_app().bootstrap().make(Dispatcher)
numbers = itertools.count()

def dispatch():
    while not Path("stop").exists():
        began, n = time.monotonic(), next(numbers)
        dispatcher.push("probe", {{"n": n}}, connection="failover")
        with open("dispatched.jsonl", "a") as file:
            file.write(json.dumps({{"n": n, "took": time.monotonic() - began}}) + "\\n")
        time.sleep(0.01)

threads = [threading.Thread(target=dispatch) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


OUTAGES = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL, "frozen": signal.SIGSTOP}
# Of the dispatches that were under way, those which the server had done and not answered yet run on both connections.
# One that is stopped answers first; one that is killed may have done the same for all of them at once.
MOST_TWICE = {"stopped": 0, "killed": THREADS, "frozen": 1}


@pytest.fixture(params=OUTAGES)
def outage(request: pytest.FixtureRequest) -> str:
    """What happens to Redis."""
    return str(request.param)


@pytest.fixture
def redis(tmp_path: Path, outage: str) -> Iterator[OwnRedis]:
    """A server of the test's own; one that is frozen is seldom so between what it does and its answer."""
    options = ["--appendfsync", "everysec"] if outage == "frozen" else []
    server = OwnRedis(tmp_path / "redis", *options)
    yield server
    server.end()


@pytest.fixture
def project(tmp_path: Path, redis: OwnRedis) -> Iterator[Project]:
    """A project whose failover goes from Redis to SQLite."""
    folder = tmp_path / "project"
    folder.mkdir()
    environment = {"REDIS_URL": f"redis://127.0.0.1:{redis.port}", "CACHE_STORE": "file"}
    project = Project(folder, environment=environment, jobs=JOBS)
    for name, text in (("queue", CONNECTIONS), ("database", TIMEOUTS)):
        with (folder / f"config/{name}.py").open("a") as file:
            file.write(text)
    project.artisan("migrate", "--force")
    yield project
    project.close()


class Dispatching:
    """A process that dispatches all the time."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._file = project.folder / "dispatched.jsonl"
        with (project.folder / "dispatcher.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DISPATCHER], cwd=project.folder, env=project.environment, stdout=log, stderr=log
            )

    def done(self) -> list[dict[str, Any]]:
        """What it has dispatched: the number, and how long it took."""
        text = self._file.read_text() if self._file.exists() else ""
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def until(self, connection: str, count: int) -> None:
        """Until as many of the jobs that are dispatched from now on have run on a connection."""
        first = len(self.done()) + THREADS

        def have_run() -> bool:
            ends = self._project.events("end")
            return len([end for end in ends if end["connection"] == connection and end["n"] >= first]) >= count

        wait_for(have_run, what=f"{count} jobs on {connection}")

    def end(self) -> None:
        """Let it come to its end."""
        (self._project.folder / "stop").touch()
        assert self._process.wait(20) == 0, self._project.log("dispatcher.log")


def test_jobs_go_to_the_next_connection_and_back(project: Project, redis: OwnRedis, outage: str) -> None:
    workers = [project.worker("--sleep=0.1", connection=name) for name in ("redis", "database")]
    dispatching = Dispatching(project)

    dispatching.until("redis", 100)
    before, began = len(dispatching.done()), time.monotonic()
    redis.signal(OUTAGES[outage])
    dispatching.until("database", 200)
    if outage == "frozen":
        redis.signal(signal.SIGCONT)
    else:
        redis.start()
    lasted = time.monotonic() - began
    dispatching.until("redis", 100)
    dispatching.end()
    done = dispatching.done()
    wait_for(lambda: len(set(project.numbers("end"))) == len(done), what="all jobs")
    for worker in workers:
        worker.terminate()
        assert worker.wait(30) == 0, project.log()

    ends = Counter(project.numbers("end"))
    connections: dict[int, set[str]] = {}
    for event in project.events("end"):
        connections.setdefault(event["n"], set()).add(event["connection"])
    times = [each["took"] for each in done[before:]]
    twice = [n for n, count in ends.items() if count > 1]
    print(f"{outage}: {len(done)} dispatched, the slowest in {max(times):.2f} s, twice: {twice}")  # noqa: T201
    assert sorted(ends) == list(range(len(done)))
    assert len(twice) <= MOST_TWICE[outage]
    assert all(connections[n] == {"redis", "database"} for n in twice)
    # Those that were under way, and one more for each try to go back.
    assert sum(took >= TIMEOUT * 0.9 for took in times) <= THREADS + 1 + lasted / TIMEOUT
    assert max(times) < 2 * TIMEOUT
