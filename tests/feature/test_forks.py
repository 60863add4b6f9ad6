"""Jobs that fork, in every pool, on the embedded broker: the child ends, and the job stays its parent's."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROBE_JOBS, Broker, Project, stop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]

POOLS = [("solo", 1), ("thread", 2), ("async", 2), ("process", 1)]

JOBS = (
    PROBE_JOBS
    + '''
import asyncio
import multiprocessing
import signal
import sys

from lamplighter.foundation.shortcuts import app, dispatch


def outcome(child):
    until = time.monotonic() + 12
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


def leave(how, n):
    """What a child does, until it comes back where its parent is."""
    if how == "raise":
        raise RuntimeError("the child's own")
    if how == "exit":
        threading.Thread(target=lambda: (time.sleep(0.3), note("joined", n=n)), daemon=False).start()
        sys.exit(3)
    if how == "text":
        sys.exit("a word on stderr")
    if how == "dispatch":
        dispatch(Probe(n=n + 100))
        os._exit(4)


@dataclass(frozen=True)
class Forks(Job):
    """Forks, and tells how its child has ended."""

    name = "forks"
    tries = 1

    n: int = 0
    how: str = ""

    def handle(self, delivery: Delivery) -> None:
        child = os.fork()
        if child == 0:
            return leave(self.how, self.n)
        note("child", n=self.n, how=self.how, code=outcome(child))
        note("end", n=self.n, attempts=delivery.attempts)


@dataclass(frozen=True)
class AsyncForks(Job):
    """The same in an event loop."""

    name = "forks.async"
    tries = 1

    n: int = 0
    how: str = ""

    async def handle(self, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            return leave(self.how, self.n)
        note("child", n=self.n, how=self.how, code=await asyncio.to_thread(outcome, child))
        note("end", n=self.n, attempts=delivery.attempts)


@dataclass(frozen=True)
class Awaits(Job):
    """Forks while others run in its event loop, and its child waits there."""

    name = "forks.awaits"
    tries = 1

    n: int = 0
    how: str = ""

    async def handle(self) -> None:
        others = asyncio.create_task(self.others())
        await asyncio.sleep(0.2)
        child = os.fork()
        if child == 0:
            await others
            return
        note("child", n=self.n, how=self.how, code=await asyncio.to_thread(outcome, child))
        await others
        note("end", n=self.n, attempts=1)

    async def others(self) -> None:
        for _ in range(20):
            note("tick")
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class FailsAndForks(Job):
    """Its `failed` forks."""

    name = "forks.failed"
    tries = 1

    n: int = 0
    how: str = ""

    def handle(self) -> None:
        raise RuntimeError("boom")

    def failed(self, error: BaseException) -> None:
        child = os.fork()
        if child:
            note("child", n=self.n, how=self.how, code=outcome(child))
            note("end", n=self.n, attempts=1)


def work(n):
    """What a process of `multiprocessing` does."""
    if multiprocessing.parent_process() is not None and not hasattr(work, "is_booted"):
        from bootstrap.app import create_app

        create_app().bootstrap()
    dispatch(Probe(n=n))


def in_pool(n):
    return n * 2


@dataclass(frozen=True)
class Multi(Job):
    """Has processes of `multiprocessing`, started in one way."""

    name = "forks.multi"
    tries = 1

    n: int = 0
    how: str = ""

    def handle(self, delivery: Delivery) -> None:
        context = multiprocessing.get_context(self.how)
        process = context.Process(target=work, args=(self.n + 100,))
        process.start()
        process.join(30)
        with context.Pool(2) as pool:
            assert pool.map(in_pool, [1, 2]) == [2, 4]
        note("child", n=self.n, how=self.how, code=process.exitcode)
        note("end", n=self.n, attempts=delivery.attempts)
'''
)

# By what a child does: its exit code.
WAYS = {"return": 1, "raise": 1, "exit": 3, "text": 1, "dispatch": 4}
PROGRAM = """
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs import probe
from lamplighter.foundation.shortcuts import dispatch
for n, (job, how) in enumerate(ways):
    dispatch(getattr(probe, job)(n=n, how=how))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment, jobs=JOBS)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def run(project: Project, pool: tuple[str, int], *ways: tuple[str, str], others: int = 0) -> list[object]:
    """Dispatch such jobs, each for one way, and work all of it; how their children have ended."""
    done = project.python(f"ways = {ways!r}\n{PROGRAM}")
    assert done.returncode == 0, done.stderr
    options = (f"--pool={pool[0]}", f"--concurrency={pool[1]}", "--timeout=40")
    worker = project.worker(*options)

    wait_for(lambda: len(project.events("end")) == len(ways) + others, seconds=90, what=f"their ends: {project.log()}")
    beats = list((project.folder / "storage/framework/workers").glob("*.json"))
    status = stop(worker)

    assert status == 0, project.log()
    assert [json.loads(beat.read_text())["pid"] for beat in beats if beat.exists()] == []
    assert len(beats) == 1  # no child has removed the worker's
    ends = Counter((line["n"], line["attempts"]) for line in project.events("end"))
    assert set(ends.values()) == {1}
    assert {attempts for _, attempts in ends} == {1}
    address = json.loads((project.folder / "storage/framework/embedded-broker.json").read_text())["address"]
    kafka = Broker(address)
    assert kafka.committed("dos_data_store", "store") == kafka.ends("store")
    return [line["code"] for line in sorted(project.events("child"), key=lambda line: int(line["n"]))]


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool[0])
def test_a_child_that_comes_back_from_a_job_ends_and_settles_nothing(project: Project, pool: tuple[str, int]) -> None:
    ways = [(job, how) for job in ("Forks", "AsyncForks") for how in WAYS]

    codes = run(project, pool, *ways, others=2)

    assert codes == [*WAYS.values(), *WAYS.values()]
    assert sorted(project.numbers("joined")) == [2, 7]
    assert project.log().count("a word on stderr") == 2
    assert project.log().count("came back from it") == 4  # of each job once by `return`, once by an error
    assert "No failed jobs" in project.artisan("queue:failed").stdout


def test_a_child_that_comes_back_from_the_hook_of_a_failed_job_ends(project: Project) -> None:
    codes = run(project, POOLS[0], ("FailsAndForks", "return"))

    assert codes == [1]
    assert project.artisan("queue:failed").stdout.count("forks.failed") == 1


def test_a_child_does_not_go_on_with_the_other_jobs_of_its_loop(project: Project) -> None:
    codes = run(project, ("async", 2), ("Awaits", "return"), ("Awaits", "return"))

    ticks = Counter(line["pid"] for line in project.events("tick"))
    assert codes == [1, 1]
    assert list(ticks.values()) == [40]


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool[0])
def test_jobs_may_have_processes_of_multiprocessing(project: Project, pool: tuple[str, int]) -> None:
    ways = [("Multi", how) for how in ("fork", "forkserver", "spawn")]

    assert run(project, pool, *ways, others=3) == [0, 0, 0]
