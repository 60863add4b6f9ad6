"""`make work` and `make faults` on a real cluster."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import INSTALLED, Checkout
from tests.harness import Broker, free_ports, wait_for

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A fresh copy of the project."""
    checkout = Checkout(tmp_path / "project")
    yield checkout
    checkout.close()


def test_on_a_cluster_make_work_publishes_nothing_and_runs_what_others_publish(
    checkout: Checkout, kafka: Broker
) -> None:
    topic, answers = kafka.topic("make-work"), kafka.topic("make-api")
    cluster = {
        "KAFKA_BROKERS": kafka.address,
        "KAFKA_QUEUE": topic,
        "KAFKA_API_QUEUE": answers,
        "KAFKA_CONSUMER_GROUP_ID": topic,
    }
    checkout.start("work", *INSTALLED, **cluster)
    wait_for(lambda: "partitions assigned" in checkout.output, what="the worker")
    assert kafka.ends(topic) == {}
    data = {"type": "taxonomy", "values": {"name": "Play"}}

    kafka.jobs(topic, data, name="job.data.store")

    wait_for(lambda: checkout.rows("taxonomy") == 1, what="the row of another program's event")
    wait_for(lambda: kafka.ends(answers), what="its answer")


def test_a_topic_that_is_missing_ends_make_work_with_the_command_that_makes_it(
    checkout: Checkout, kafka: Broker
) -> None:
    done = checkout.make("work", *INSTALLED, KAFKA_BROKERS=kafka.address, KAFKA_QUEUE="make-work-has-no-such-topic")

    assert done.returncode != 0
    assert "`python artisan.py kafka:topics --create`" in done.stdout


def test_ctrl_c_stops_make_faults_and_the_kafka_that_it_has_started(
    checkout: Checkout, kafka: Broker, tmp_path: Path
) -> None:
    folder = tmp_path / "kafka"
    checkout.start("faults", *INSTALLED, KAFKA_DIR=str(folder), KAFKA_PORT=str(free_ports()))
    wait_for(lambda: "collected" in checkout.output, seconds=120, what="the first test")

    status = checkout.interrupt()

    assert status in (2, -signal.SIGINT), checkout.output
    wait_for(lambda: not (folder / "nodes").exists(), what="the end of Kafka")
