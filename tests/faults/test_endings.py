"""A worker ends by its deadline, whatever hangs: in every pool, for every reason to stop."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fleet import POOLS, TWO
from tests.faults.mock import Mock
from tests.harness import PROBE_JOBS, Project, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

TIMEOUT, SHUTDOWN = 3, 4  # seconds
# For a machine that is busy with all of these workers.
SPARE = 4.0

JOBS = (
    PROBE_JOBS
    + '''

def for_ever() -> None:
    """Never comes back, whatever is raised in it; another process of the same job ends at last."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            time.sleep(120)
        except BaseException:
            continue


@dataclass(frozen=True)
class Hangs(Job):
    """Hangs where its data say."""

    name = "hangs"

    where: str = ""

    def handle(self) -> None:
        note("start", where=self.where)
        if self.where == "job":
            for_ever()
        if self.where in ("hook", "store"):
            raise RuntimeError("boom")
        if self.where == "thread":
            threading.Thread(target=for_ever).start()
        if self.where == "executor":
            import concurrent.futures

            concurrent.futures.ThreadPoolExecutor(1).submit(for_ever)
        if self.where == "child":
            import multiprocessing

            multiprocessing.get_context("fork").Process(target=for_ever).start()
        if self.where == "exit":
            import atexit

            atexit.register(for_ever)

    def failed(self, error: BaseException) -> None:
        for_ever()
'''
)
PROVIDER = '''
"""Listeners and a store that hang."""

import os

from app.Jobs.probe import for_ever, note
from lamplighter.contracts import Events
from lamplighter.queue.events import JobProcessed, JobProcessing, WorkerStopping
from lamplighter.queue.failed import FailedJobs
from lamplighter.support.provider import ServiceProvider


class HangingStore:
    def record(self, failure):
        note("record")
        for_ever()


class HangingProvider(ServiceProvider):
    def register(self) -> None:
        where = os.environ.get("HANGS")
        if where == "store":
            self.app.instance(FailedJobs, HangingStore())
        events = self.app.make(Events)
        kinds = {"begin": JobProcessing, "listener": JobProcessed, "stopping": WorkerStopping}
        if where in kinds:
            events.listen(kinds[where], lambda event: (note("heard", where=where), for_ever()))
'''
# Those that are in the worker's own thread hang there in every pool; the others are a slot's.
WHY = ("TERM", "queue:restart", "--max-jobs")
WHERE = ("job", "hook", "begin", "listener", "stopping", "store", "thread", "executor", "child", "exit")


@pytest.fixture
def project(tmp_path: Path, mock: Mock) -> Iterator[Project]:
    """A project with things that hang."""
    environment = {"KAFKA_BROKERS": mock.address, "DB_DATABASE": str(tmp_path / "database.sqlite"), "LOG_LEVEL": "info"}
    project = Project(tmp_path, environment=environment, jobs=JOBS)
    project.configure(consumer_options={"fetch.wait.max.ms": 10}, stall_after=0)
    (tmp_path / "app/Providers").mkdir()
    (tmp_path / "app/Providers/hanging.py").write_text(PROVIDER)
    bootstrap = tmp_path / "bootstrap/app.py"
    kafka = '"lamplighter.kafka.provider:KafkaServiceProvider",'
    text = bootstrap.read_text()
    assert kafka in text
    bootstrap.write_text(text.replace(kafka, f'{kafka} "app.Providers.hanging:HangingProvider",'))
    project.artisan("migrate", "--force")
    yield project
    for line in project.events():
        subprocess.run(["kill", "-9", str(line["pid"])], capture_output=True, check=False)
    project.close()


def begin(project: Project, topic: str, pool: str, where: str, *options: str) -> "subprocess.Popen[str]":
    """A worker of its own topic."""
    own = {"KAFKA_QUEUE": topic, "KAFKA_CONSUMER_GROUP_ID": topic, "HANGS": where}
    settings = (f"--timeout={TIMEOUT}", f"--shutdown-timeout={SHUTDOWN}", "--sleep=1", *POOLS[pool], *options)
    return project.worker(*settings, log=f"{where}.log", **own)


@pytest.mark.parametrize(("pool", "why"), [(pool, why) for why in WHY for pool in (POOLS if why == "TERM" else TWO)])
def test_the_process_ends_by_its_deadline_whatever_hangs(project: Project, mock: Mock, pool: str, why: str) -> None:
    """Invariant: from the first word to stop on, the job has its timeout and the worker its --shutdown-timeout."""
    options = ("--max-jobs=1",) if why == "--max-jobs" else ()
    topics = {where: mock.topic("endings", partitions=1) for where in WHERE}
    workers = {where: begin(project, topics[where], pool, where, *options) for where in WHERE}
    for where in WHERE:
        log = f"{where}.log"
        wait_for(lambda log=log: "partitions assigned" in project.log(log), seconds=90, what=where)  # type: ignore[misc]
    for where, topic in topics.items():
        mock.jobs(topic, {"where": where}, name="hangs")
    wait_for(lambda: {line["where"] for line in project.events() if "where" in line} == set(WHERE), what="the jobs")

    if why == "TERM":
        for worker in workers.values():
            worker.send_signal(signal.SIGTERM)
    elif why == "queue:restart":
        project.artisan("queue:restart")
    until = time.monotonic() + TIMEOUT + SHUTDOWN + SPARE
    late = []
    for where, worker in workers.items():
        try:
            worker.wait(max(0.01, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            late.append(where)

    statuses = {where: worker.poll() for where, worker in workers.items()}
    print(f"[{pool}, {why}] {statuses}", file=sys.stderr)  # noqa: T201
    for where in late:
        print(project.log(f"{where}.log"), file=sys.stderr)  # noqa: T201
    assert late == []
