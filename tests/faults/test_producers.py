"""A producer that meets a fatal error: its broker knows neither the end of the log nor who wrote it any more."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from tests.faults.mock import PRODUCE, Mock
from tests.harness import Broker, Node, Project, free_ports, stop, wait_for

POOLS = [(), ("--pool=thread", "-c2"), ("--pool=async", "-c2"), ("--pool=process", "-c2")]
JOBS = 20
PUSHES = '''
from lamplighter import dispatch


@dataclass(frozen=True)
class Pushes(Job):
    """Dispatches one job."""

    name = "pushes"

    n: int = 0

    def handle(self) -> None:
        dispatch(Probe(n=1000 + self.n), queue=os.environ["OTHER_TOPIC"])
        note("pushed", n=self.n)
'''
DISPATCH = """
import sys
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter import dispatch
for n in range(40):
    dispatch(Probe(n=n))
print("dispatched", flush=True)
sys.stdin.readline()
for n in range(5):
    try:
        dispatch(Probe(n=1000 + n))
        print("ok", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""
LATER = """
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter import dispatch
for n in {numbers}:
    dispatch(Probe(n=n), delay=1, queue="{queue}")
"""


class Damaged:
    """A broker of the test's own, with a topic that it forgets half of."""

    def __init__(self, home: Path, node: Node) -> None:
        self.kafka = Broker(node.address)
        self.topic = self.kafka.topic(partitions=1)
        self._home = home
        self._node = node

    def damage(self, topic: str) -> None:
        """Kill the broker, and start it again without half of a log and what it knew of the log's producers."""
        self._node("kill", "1")
        for log in self._home.glob(f"data1/{topic}-0/*.log"):
            os.truncate(log, log.stat().st_size // 2)
        for snapshot in self._home.glob(f"data1/{topic}-0/*.snapshot"):
            snapshot.unlink()
        self._node("start", "1")

    def numbers(self, topic: str) -> set[int]:
        """The jobs on a topic."""
        return {body["data"]["n"] for _, body in self.kafka.read(topic)}


@pytest.fixture
def damaged(tmp_path: Path, kafka: Broker) -> Iterator[Damaged]:
    """That broker."""
    home = tmp_path / "kafka"
    home.mkdir()
    node = Node(home, free_ports(2))
    yield Damaged(home, node)
    node("down")


def project_on(folder: Path, address: str, topic: str, **environment: str) -> Project:
    """A project whose queue is that topic."""
    folder.mkdir()
    own = {"KAFKA_BROKERS": address, "KAFKA_QUEUE": topic, "KAFKA_CONSUMER_GROUP_ID": topic}
    project = Project(folder, environment={**own, "DB_DATABASE": str(folder / "database.sqlite"), **environment})
    project.configure(session_timeout=45)  # the outage costs no membership
    project.artisan("migrate", "--force")
    return project


@pytest.mark.faults
@pytest.mark.kafka
@pytest.mark.slow
def test_a_program_dispatches_again_after_its_producer_met_a_fatal_error(tmp_path: Path, damaged: Damaged) -> None:
    project = project_on(tmp_path / "project", damaged.kafka.address, damaged.topic)
    program = subprocess.Popen(
        [sys.executable, "-c", DISPATCH],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "dispatched\n"

    damaged.damage(damaged.topic)
    told = program.communicate("go on\n", timeout=90)[0].splitlines()

    refused = [line for line in told if line != "ok"]
    assert len(told) == 5
    assert len(refused) == 1
    assert told[0].startswith("BrokerUnavailable")
    assert "redentials" not in told[0]
    assert {1001, 1002, 1003, 1004} <= damaged.numbers(damaged.topic)


@pytest.mark.faults
@pytest.mark.kafka
@pytest.mark.slow
def test_delayed_jobs_are_moved_after_their_producer_met_a_fatal_error(tmp_path: Path, damaged: Damaged) -> None:
    target = damaged.kafka.topic("target", partitions=1)
    project = project_on(tmp_path / "project", damaged.kafka.address, damaged.topic)
    project.artisan("kafka:topics", "--create", check=False)
    worker = project.worker()
    try:
        for first in (0, 100, 200):  # a mover that has nothing to send at the wrong moment meets no error
            numbers = range(first, first + JOBS)
            if first:
                damaged.damage(target)
            done = project.python(LATER.format(numbers=list(numbers), queue=target))
            assert done.returncode == 0, done.stderr
            wait_for(lambda: set(numbers) <= damaged.numbers(target), seconds=40, what=f"jobs {numbers}")  # noqa: B023
        assert stop(worker) == 0
    finally:
        project.close()


@pytest.mark.faults
@pytest.mark.parametrize("pool", POOLS, ids=["solo", "thread", "async", "process"])
def test_a_job_whose_push_met_a_fatal_error_runs_again(tmp_path: Path, mock: Mock, pool: tuple[str, ...]) -> None:
    topic, other = mock.topic(partitions=1), mock.topic("other", partitions=1)
    project = project_on(tmp_path / "project", mock.address, topic, OTHER_TOPIC=other)
    with (project.folder / "app/Jobs/probe.py").open("a") as file:
        file.write(PUSHES)
    worker = project.worker(*pool)
    try:
        mock.jobs(topic, {"n": 0}, name="pushes")
        wait_for(lambda: project.numbers("pushed") == [0], what="the first push")

        worker.send_signal(signal.SIGSTOP)  # what is refused must not be our own publishing
        mock.jobs(topic, *({"n": n} for n in range(1, 11)), name="pushes")
        mock.refuse(PRODUCE, *[KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER] * 2)
        worker.send_signal(signal.SIGCONT)
        numbers = set(range(1000, 1011))
        wait_for(lambda: {body["data"]["n"] for _, body in mock.read(other)} == numbers, what="what they have pushed")

        wait_for(lambda: mock.committed(topic, topic) == mock.ends(topic), what="the commit")
        assert stop(worker) == 0
        assert "can't go on; a new one is made" in project.log()
    finally:
        project.close()
