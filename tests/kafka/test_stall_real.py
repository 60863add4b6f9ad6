"""A worker that stands still says so and ends; one that waits for a reason does neither."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.harness import Broker, Node, Project, free_ports, stop, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STALLED = 75

# A listener that never comes back keeps the worker's own loop from going on.
HANGING = """
import sys, time
from bootstrap.app import create_app
from lamplighter.contracts import Events
from lamplighter.queue.events import WorkerIdle
app = create_app()
app.booted(lambda: app.make(Events).listen(WorkerIdle, lambda event: time.sleep(3600)))
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, kafka: Broker) -> Iterator[Node]:
    """One broker that may be harmed."""
    node = Node(tmp_path_factory.mktemp("kafka"), free_ports())
    yield node
    node("down")


@pytest.fixture
def broker(node: Node) -> Broker:
    """The same, seen as a broker."""
    return Broker(node.address)


@pytest.fixture
def project(tmp_path: Path, broker: Broker) -> Iterator[Project]:
    """A project on the broker that may be harmed; it takes little at a time, so that a backlog stays there."""
    topic = broker.topic()
    environment = {
        "KAFKA_BROKERS": broker.address,
        "KAFKA_QUEUE": topic,
        "KAFKA_CONSUMER_GROUP_ID": topic,
        "DB_DATABASE": str(tmp_path / "database.sqlite"),
    }
    project = Project(tmp_path, environment=environment)
    project.configure(stall_after=4, prefetch=50, ordering="none")
    project.artisan("migrate", "--force")
    yield project
    project.close()


def backlog(project: Project, broker: Broker, count: int = 3000) -> str:
    """Jobs that take 10 ms each; their topic."""
    topic = project.environment["KAFKA_QUEUE"]
    broker.jobs(topic, *({"n": n, "sleep": 0.01} for n in range(count)))
    return topic


def test_a_frozen_broker_is_a_stall_with_what_is_seen_and_an_exit_of_its_own(
    project: Project, broker: Broker, node: Node
) -> None:
    topic = backlog(project, broker)
    worker = project.worker("-q", "--shutdown-timeout=4")
    wait_for(lambda: len(project.events("end")) > 100)

    node("freeze", "1")
    try:
        status = worker.wait(60)
    finally:
        node("thaw", "1")

    assert status == STALLED, project.log()
    [line] = [line for line in project.log().splitlines() if "stands still" in line]
    for word in (f"{topic}[0] committed", "assigned", "paused", "lag", "held", "last commit error"):
        assert word in line


def test_a_broker_that_is_gone_is_waited_for(project: Project, broker: Broker, node: Node) -> None:
    # A broker that has just started takes connections before it answers.
    project.configure(stall_after=10)
    topic = backlog(project, broker, 1000)
    worker = project.worker("-q")
    wait_for(lambda: len(project.events("end")) > 100)

    node("kill", "1")
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 15)
    node("start", "1")
    wait_for(lambda: set(project.numbers("end")) == set(range(1000)), seconds=90, what="all jobs")
    wait_for(lambda: broker.committed(topic, topic) == broker.ends(topic), what="the commits")

    assert stop(worker) == 0, project.log()
    assert "stands still" not in project.log()


def test_a_loop_that_hangs_is_ended_with_its_process(project: Project, broker: Broker) -> None:
    (project.folder / "hanging.py").write_text(HANGING)
    worker = project.worker("-q", "--shutdown-timeout=3", program="hanging.py")
    wait_for(lambda: "partitions assigned" in project.log(), what="the worker")

    backlog(project, broker, 10)

    assert worker.wait(40) == STALLED, project.log()
    assert "stands still" in project.log()


@pytest.mark.parametrize(
    "job", [{"sleep": 9.0}, {"fail_until": 1}, {"release": 9.0}], ids=["it runs", "it is tried again", "it waits"]
)
def test_a_worker_that_waits_for_its_own_job_does_not_stand_still(
    project: Project, broker: Broker, job: dict[str, float]
) -> None:
    project.configure(ordering="partition")
    topic = project.environment["KAFKA_QUEUE"]
    broker.jobs(topic, {"n": 1, **job}, partition=0)
    broker.jobs(topic, *({"n": n} for n in range(2, 300)), partition=0)

    worker = project.worker("-q", "--tries=3", "--backoff=9")
    wait_for(lambda: len(project.events("end")) >= 299, seconds=60, what="all jobs")

    assert stop(worker) == 0, project.log()
    assert "stands still" not in project.log()


def test_a_paused_worker_does_not_stand_still(project: Project, broker: Broker) -> None:
    backlog(project, broker, 500)
    worker = project.worker("-q")
    wait_for(lambda: len(project.events("end")) > 20)

    worker.send_signal(signal.SIGUSR2)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 9)
    still = worker.poll()
    worker.send_signal(signal.SIGCONT)
    wait_for(lambda: len(project.events("end")) == 500, seconds=60, what="all jobs")

    assert still is None
    assert stop(worker) == 0
    assert "stands still" not in project.log()


def test_a_worker_that_another_programs_open_transaction_holds_up_waits_for_its_end(
    project: Project, broker: Broker
) -> None:
    topic = backlog(project, broker, 20)
    worker = project.worker("-q")
    wait_for(lambda: len(project.events("end")) == 20)
    other = Producer({"bootstrap.servers": broker.address, "transactional.id": topic, "transaction.timeout.ms": 60_000})
    other.init_transactions(20)
    other.begin_transaction()
    for n in range(100, 105):
        other.produce(topic, json.dumps({"job": "probe", "data": {"n": n}}).encode(), b"k", 0)
    other.flush(10)

    # Said when it is open for longer than what would be a stall.
    wait_for(lambda: "holds partitions up" in project.log(), seconds=30, what="the worker's word")
    still = worker.poll()
    lag = project.artisan("kafka:lag").stdout
    other.commit_transaction(20)
    wait_for(lambda: set(project.numbers("end")) >= set(range(100, 105)), what="the jobs of the transaction")

    assert still is None, project.log()
    assert f"{topic}[0]: held by an open transaction" in lag
    assert stop(worker) == 0
    assert "stands still" not in project.log()


@pytest.mark.parametrize("pool", ["solo", "thread", "async", "process"])
@pytest.mark.parametrize("harm", ["freeze", "kill"])
def test_shutdown_ends_at_its_deadline_with_the_broker_away(
    project: Project, broker: Broker, node: Node, pool: str, harm: str
) -> None:
    project.configure(stall_after=0)
    backlog(project, broker, 1000)
    slots = () if pool == "solo" else (f"--pool={pool}", "--concurrency=2")
    worker = project.worker("-q", "--shutdown-timeout=5", *slots)
    wait_for(lambda: len(project.events("end")) > 40)

    node(harm, "1")
    try:
        began = time.monotonic()
        status = stop(worker)
        took = time.monotonic() - began
    finally:
        node("thaw" if harm == "freeze" else "start", "1")

    # A worker whose session is over has nothing left to commit, and leaves in order.
    assert status in (0, 1) if harm == "kill" else status == 1, project.log()
    assert took < 7
