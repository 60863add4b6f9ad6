"""A broker that dies, hangs or comes back, under a worker and a dispatcher."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT, Broker, Node, Project, free_ports, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

OUTAGE = float(os.environ.get("TEST_OUTAGE", "20"))  # seconds without a broker

DISPATCH = """
import sys, time
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter.errors import Unavailable
from lamplighter.foundation.shortcuts import dispatch
began = time.monotonic()
try:
    dispatch(Probe(n=77))
except Unavailable as error:
    print(f"{time.monotonic() - began:.1f} {error}")
    sys.exit(3)
print("ok")
"""

LOOK = """
from lamplighter.errors import QueueError
from lamplighter.kafka.monitoring.brokers import Brokers
brokers = Brokers({{"bootstrap.servers": "{address}"}})
while True:
    try:
        brokers.describe("nobody")
        break
    except LookupError:
        break
    except QueueError as error:
        print(error, flush=True)
"""

JOIN = """
import time
from lamplighter.errors import QueueError
from lamplighter.kafka.polling.membership import Membership
from lamplighter.kafka.settings.native import Consumer
config = {{"bootstrap.servers": "{address}", "group.id": "nobody"}}
consumer, membership = Consumer(config), Membership(config)
began = time.monotonic()
try:
    while not membership.is_confirmed(consumer, time.monotonic()):
        if time.monotonic() - began > 10:
            print("no answer so far", flush=True)
            began = float("inf")
        time.sleep(0.05)
except QueueError:
    pass
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
    """A project on the broker that may be harmed."""
    topic = broker.topic()
    environment = {
        "KAFKA_BROKERS": broker.address,
        "KAFKA_QUEUE": topic,
        "KAFKA_CONSUMER_GROUP_ID": topic,
        "DB_DATABASE": str(tmp_path / "database.sqlite"),
    }
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def test_a_worker_outlives_its_broker(project: Project, broker: Broker, node: Node) -> None:
    topic = project.environment["KAFKA_QUEUE"]
    broker.jobs(topic, *({"n": n, "sleep": 0.01} for n in range(3000)))
    worker = project.worker("-q")
    wait_for(lambda: len(project.events("end")) > 100)

    node("kill", "1")
    away = project.python(DISPATCH)
    time.sleep(OUTAGE)
    node("start", "1")
    back = project.python(DISPATCH)
    wait_for(lambda: {*range(3000), 77} <= set(project.numbers("end")), seconds=120, what="all jobs")
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(40) == 0, project.log()
    assert (away.returncode, back.returncode) == (3, 0), (away, back)
    assert float(away.stdout.split()[0]) <= 10.5
    assert broker.committed(topic, topic) == broker.ends(topic)


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(project: Project, broker: Broker, node: Node) -> None:
    topic = project.environment["KAFKA_QUEUE"]
    broker.jobs(topic, {"n": 1})
    node("kill", "1")

    worker = project.worker("-q")
    wait_for(lambda: project.log().count("brokers can't be reached") == 2, what="two lines")
    told = [line for line in project.log().splitlines() if "WARNING" in line or "ERROR" in line]
    still = worker.poll()
    node("start", "1")
    wait_for(lambda: project.numbers("end") == [1], seconds=60)
    worker.send_signal(signal.SIGTERM)

    assert still is None
    # Every ten seconds one, and no other beside it.
    assert len(told) == 2
    assert all(f"waiting brokers={broker.address} reason=" in line and "KAFKA_BROKERS" in line for line in told)
    assert worker.wait(40) == 0


def test_shutdown_ends_at_its_deadline_when_the_broker_is_frozen(project: Project, broker: Broker, node: Node) -> None:
    topic = project.environment["KAFKA_QUEUE"]
    broker.jobs(topic, *({"n": n, "sleep": 0.02} for n in range(500)))
    worker = project.worker("-q", "--shutdown-timeout=5")
    wait_for(lambda: len(project.events("end")) > 20)

    node("freeze", "1")
    try:
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        status = worker.wait(40)
        took = time.monotonic() - began
    finally:
        node("thaw", "1")

    assert status == 1, project.log()
    assert took < 7


@pytest.mark.parametrize("program", [LOOK, JOIN], ids=["a command that looks", "a worker that joins"])
def test_a_question_about_a_group_that_had_no_answer_ends_no_process(tmp_path: Path, node: Node, program: str) -> None:
    node("kill", "1")
    told = tmp_path / "told.log"
    with told.open("w") as log:
        asking = subprocess.Popen(
            [sys.executable, "-c", program.format(address=node.address)], stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
        )
    try:
        wait_for(
            lambda: "answer" in told.read_text() or "reached" in told.read_text(), what="a question without answer"
        )
        node("start", "1")
        status = asking.wait(60)
    finally:
        asking.kill()

    assert status == 0, told.read_text()
