"""Many jobs in one call, through the command, in every pool, on the embedded broker."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import PROBE_JOBS, Broker, Project, stop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]

POOLS = [("solo", 1), ("thread", 3), ("process", 2), ("async", 3)]
JOBS = (
    PROBE_JOBS
    + '''

from collections.abc import Sequence

from lamplighter.errors import BrokerUnavailable
from lamplighter.queue.dispatching.dispatcher import Dispatcher


@dataclass(frozen=True)
class Together(Job):
    """Notes each call, and does what its data say."""

    name = "together"
    batch_size = 10
    batch_wait_ms = 500
    timeout = 3

    n: int = 0
    how: str = ""

    @classmethod
    def handle_many(cls, jobs: Sequence["Together"], deliveries: Sequence[Delivery], dispatcher: Dispatcher) -> None:
        note("call", jobs=[job.n for job in jobs], attempts=max(delivery.attempts for delivery in deliveries))
        for job, delivery in zip(jobs, deliveries, strict=True):
            if job.how == "raise":
                raise RuntimeError(f"boom {job.n}")
            if job.how == "exit":
                os._exit(9)
            if job.how == "hang":
                time.sleep(60)
            if job.how == "push":
                dispatcher.push("probe", {"n": 1000 + job.n})
            if job.how == "fail":
                delivery.fail(ValueError("bad"))
        note("done", jobs=[job.n for job in jobs])

    def failed(self, error: BaseException) -> None:
        note("failed", n=self.n, error=type(error).__name__)


@dataclass(frozen=True)
class Awaited(Together):
    """The same, awaited."""

    name = "awaited"

    @classmethod
    async def handle_many(cls, jobs: Sequence["Awaited"]) -> list[Exception | None]:
        note("call", jobs=[job.n for job in jobs])
        return [ValueError("bad") if job.how == "fail" else None for job in jobs]
'''
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment, jobs=JOBS)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def broker(project: Project) -> Broker:
    """The broker that the project's worker has started."""
    address = json.loads((project.folder / "storage/framework/embedded-broker.json").read_text())["address"]
    return Broker(address)


def working(project: Project, pool: str, slots: int, *options: str) -> Callable[..., int]:
    """Start a worker; what stops it."""
    process = project.worker(f"--pool={pool}", f"--concurrency={slots}", *options)
    wait_for(lambda: "partitions assigned" in project.log(), what=f"a worker: {project.log()}")
    return lambda: stop(process)


def done(project: Project) -> list[int]:
    """The jobs of the calls that came to their ends, sorted."""
    return sorted(n for line in project.events("done") for n in line["jobs"])


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_a_poison_job_fails_alone(project: Project, pool: str, slots: int) -> None:
    end = working(project, pool, slots)
    jobs: list[dict[str, object]] = [{"n": n, "how": {17: "raise", 23: "fail"}.get(n, "")} for n in range(40)]

    broker(project).jobs("store", *jobs, name="together")
    wait_for(lambda: len(project.events("failed")) == 2 and len(done(project)) >= 39)
    status = end()

    assert status == 0
    assert sorted(project.numbers("failed")) == [17, 23]
    assert Counter(done(project)) == Counter({n: 1 for n in range(40) if n != 17})
    assert {line["attempts"] for line in project.events("call")} == {1}
    assert max(len(line["jobs"]) for line in project.events("call")) > 1
    lines = Counter(line.split()[-1] for line in project.log().splitlines() if " together" in line)
    assert (lines["RUNNING"], lines["DONE"], lines["FAIL"]) == (40, 38, 2)


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_an_async_handler_is_awaited(project: Project, pool: str, slots: int) -> None:
    end = working(project, pool, slots)

    jobs: list[dict[str, object]] = [{"n": n, "how": "fail" if n == 5 else ""} for n in range(20)]
    broker(project).jobs("store", *jobs, name="awaited")
    wait_for(lambda: sum(len(line["jobs"]) for line in project.events("call")) == 20 and project.events("failed"))
    status = end()

    assert status == 0
    assert project.numbers("failed") == [5]


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_what_a_call_pushes_is_there_before_its_jobs_are_done(project: Project, pool: str, slots: int) -> None:
    end = working(project, pool, slots, "--queue=store,default")

    broker(project).jobs("store", *({"n": n, "how": "push"} for n in range(20)), name="together")
    wait_for(lambda: len(project.events("end")) == 20)
    status = end()

    assert status == 0
    assert sorted(project.numbers("end")) == list(range(1000, 1020))


def test_a_call_that_kills_its_slot_harms_no_neighbour(project: Project) -> None:
    end = working(project, "process", 2, "--tries=2")

    broker(project).jobs("store", *({"n": n, "how": "exit" if n == 4 else ""} for n in range(10)), name="together")
    wait_for(lambda: project.events("failed") and len(done(project)) == 9, seconds=60)
    status = end()

    assert status == 0
    assert [line["error"] for line in project.events("failed")] == ["SlotDied"]
    assert done(project) == [n for n in range(10) if n != 4]
    alone = [line["attempts"] for line in project.events("call") if line["jobs"] == [4]]
    assert alone == [1, 2]


@pytest.mark.parametrize(("pool", "slots"), [("process", 2), ("async", 3)])
def test_a_call_that_overruns_costs_its_neighbours_nothing(project: Project, pool: str, slots: int) -> None:
    jobs = JOBS.replace("time.sleep(60)", "await asyncio.sleep(60)") if pool == "async" else JOBS
    jobs = jobs.replace("    def handle_many(cls, jobs: Seq", "    async def handle_many(cls, jobs: Seq", 1)
    if pool == "async":
        (project.folder / "app/Jobs/probe.py").write_text(
            "import asyncio\n" + jobs.replace('"""Jobs that', '"""Jobs', 1)
        )
    end = working(project, pool, slots)

    broker(project).jobs("store", *({"n": n, "how": "hang" if n == 4 else ""} for n in range(10)), name="together")
    wait_for(lambda: project.events("failed") and len(done(project)) == 9, seconds=60)
    status = end()

    assert status == 0
    assert [(line["n"], line["error"]) for line in project.events("failed")] == [(4, "JobTimedOut")]
    assert done(project) == [n for n in range(10) if n != 4]
