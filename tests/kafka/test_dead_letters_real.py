"""The dead-letter topic against a real Apache Kafka: written before anything lets go of a job, read by the commands."""

import json
import os
import signal
from datetime import datetime
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.harness import Broker, Project, stop, wait_for

pytestmark = pytest.mark.kafka


class Letters:
    """What stands in a dead-letter topic, seen from outside."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker = broker
        self.topic = topic

    def read(self) -> list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]]:
        """Key, value and headers of every record; none where there is no topic."""
        found: list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]] = []
        ends = self.broker.ends(self.topic)
        left = sum(ends.values())
        with self.broker._consumer("test-letters") as consumer:
            consumer.assign([TopicPartition(self.topic, number, 0) for number in ends])
            while left > 0:
                for message in consumer.consume(100, 0.2):
                    if message.error() is None:
                        left -= 1
                        headers: Any = message.headers() or []
                        found.append((message.key(), message.value(), dict(headers)))
        return found


@pytest.fixture
def letters(kafka: Broker, topic: str, project: Project) -> Letters:
    """A dead-letter topic, which the project's connection names."""
    name = kafka.topic("letters", partitions=2)
    project.configure(dead_letter_topic=name)
    return Letters(kafka, name)


def failed(project: Project) -> list[dict[str, Any]]:
    """What `queue:failed` tells."""
    jobs: list[dict[str, Any]] = json.loads(project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    return jobs


def work(project: Project) -> None:
    """Work what is there."""
    project.artisan("queue:work", "kafka", "-q", "--stop-when-empty", check=False)


def without_table(project: Project) -> None:
    """Keep failed jobs in the topic alone."""
    project.environment["QUEUE_FAILED_DRIVER"] = "null"


def test_a_letter_is_the_message_and_says_what_became_of_it(
    project: Project, kafka: Broker, topic: str, letters: Letters
) -> None:
    kafka.jobs(topic, {"n": 7, "fail_until": 9}, uuid="u-7", maxTries=2)

    work(project)

    [(key, value, headers)] = letters.read()
    told = {name.removeprefix("x-failed-"): (text or b"").decode() for name, text in headers.items()}
    assert key == b"7"
    assert value is not None
    assert json.loads(value)["data"]["n"] == 7
    assert {name: told[name] for name in ("id", "uuid", "connection", "topic", "attempts", "offset")} == {
        "id": "u-7",
        "uuid": "u-7",
        "connection": "kafka",
        "topic": topic,
        "attempts": "2",
        "offset": "0",
    }
    assert told["class"] == "builtins.RuntimeError"
    assert told["message"] == "boom 7"
    assert "in handle" in told["trace"]
    assert datetime.fromisoformat(told["at"]).tzinfo is not None
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.parametrize("is_alone", [False, True], ids=["beside the table", "alone"])
def test_a_retried_letter_runs_with_its_bytes_and_is_not_offered_again(
    project: Project, kafka: Broker, topic: str, letters: Letters, is_alone: bool
) -> None:
    if is_alone:
        without_table(project)
    kafka.publish(topic, [(b"\xff", b"no payload \xff")])
    kafka.jobs(topic, *({"n": n, "fail_until": 9} for n in (1, 2, 3)))
    work(project)
    before = failed(project)
    ends = sum(kafka.ends(topic).values())

    once = project.artisan("queue:retry", before[0]["id"])
    rest = project.artisan("queue:retry", "all")
    again = project.artisan("queue:retry", before[0]["id"], check=False)

    assert len(before) == 4
    assert (once.stdout.count("DONE"), rest.stdout.count("DONE")) == (1, 3)
    assert again.returncode == 1
    assert failed(project) == []
    assert sum(kafka.ends(topic).values()) - ends == 4
    work(project)
    assert len(failed(project)) == 4
    assert {job["id"] for job in failed(project)}.isdisjoint(job["id"] for job in before)


@pytest.mark.parametrize("is_alone", [False, True], ids=["beside the table", "alone"])
def test_one_event_that_fails_on_three_queues_is_put_back_onto_each(
    project: Project, kafka: Broker, topic: str, letters: Letters, is_alone: bool
) -> None:
    if is_alone:
        without_table(project)
    queues = [topic, *(kafka.topic(name, partitions=1) for name in ("audit", "billing"))]
    envelope = {"uuid": "6e5dbc1c-5a4c-4e0b-9a0f-000000000001", "job": "probe", "maxTries": 1, "attempts": 0}
    event = json.dumps({**envelope, "data": {"n": 1, "fail_until": 9}}).encode()
    for queue in queues:
        kafka.publish(queue, [(b"order-7", event)])
    project.artisan("queue:work", "kafka", "-q", "--stop-when-empty", f"--queue={','.join(queues)}", check=False)
    kept = failed(project)

    project.artisan("queue:retry", "all")

    assert sorted(job["queue"] for job in kept) == sorted(queues)
    assert len({job["id"] for job in kept}) == 3
    assert envelope["uuid"] in {job["id"] for job in kept}
    assert [sum(kafka.ends(queue).values()) for queue in queues] == [2, 2, 2]
    assert failed(project) == []


def test_letters_are_forgotten_and_flushed(project: Project, kafka: Broker, topic: str, letters: Letters) -> None:
    without_table(project)
    kafka.jobs(topic, *({"n": n, "fail_until": 9} for n in range(5)))
    work(project)
    ids = [job["id"] for job in failed(project)]

    codes = [project.artisan("queue:forget", ids[0], check=False).returncode for _ in range(2)]
    project.artisan("queue:flush", "--hours=1")
    after_hours = len(failed(project))
    project.artisan("queue:flush")

    assert len(ids) == 5
    assert codes == [0, 1]
    assert after_hours == 4
    assert failed(project) == []


def test_a_missing_topic_leaves_the_job_unsettled_until_it_is_there(
    project: Project, kafka: Broker, topic: str, letters: Letters
) -> None:
    missing = f"{letters.topic}-later"
    project.configure(dead_letter_topic=missing)
    kafka.jobs(topic, {"n": 1, "fail_until": 9})
    worker = project.worker("-q")
    wait_for(lambda: "can't be recorded" in project.log(), what="the refusal")
    before = kafka.committed(topic, topic)

    project.artisan("kafka:topics", "--create")
    wait_for(lambda: Letters(kafka, missing).read(), what="the letter")
    wait_for(lambda: kafka.committed(topic, topic) == kafka.ends(topic), what="the commit")

    assert sum(before.values()) == 0
    assert "kafka:topics --create" in project.log()
    assert project.numbers("start") == [1]
    assert project.numbers("failed") == [1]
    assert len(failed(project)) == 1
    assert stop(worker) == 0


def test_a_worker_that_dies_while_the_topic_refuses_loses_nothing(
    project: Project, kafka: Broker, topic: str, letters: Letters
) -> None:
    missing = f"{letters.topic}-later"
    project.configure(dead_letter_topic=missing)
    without_table(project)
    kafka.jobs(topic, {"n": 1, "fail_until": 9})
    worker = project.worker("-q")
    wait_for(lambda: "can't be recorded" in project.log(), what="the refusal")

    stop(worker, signal.SIGKILL)
    project.artisan("kafka:topics", "--create")
    work(project)

    assert [job["class"] for job in failed(project)] == ["probe"]
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_a_letter_that_is_too_large_gives_up_its_trace_first(
    project: Project, kafka: Broker, topic: str, letters: Letters
) -> None:
    small = kafka.topic("letters", partitions=1, **{"max.message.bytes": "9000"})
    project.configure(dead_letter_topic=small)
    # What can't be compressed, so that the sizes are what they are.
    noise = "".join(chr(33 + (n * n * 7919 + n) % 90) for n in range(7600))
    kafka.publish(topic, [(b"k", noise.encode())])
    kafka.jobs(topic, {"n": 1})

    work(project)

    [(key, value, headers)] = Letters(kafka, small).read()
    assert (key, value) == (b"k", noise.encode())
    assert "x-failed-message" in headers
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_poison_that_no_letter_can_hold_waits_until_the_topic_takes_it(
    project: Project, kafka: Broker, topic: str, letters: Letters
) -> None:
    small = kafka.topic("letters", partitions=1, **{"max.message.bytes": "2000"})
    project.configure(dead_letter_topic=small)
    noise = os.urandom(4000)
    kafka.publish(topic, [(b"k", noise)])
    worker = project.worker("-q", LOG_LEVEL="debug")
    wait_for(lambda: project.log().count("Raise its max.message.bytes") >= 2, what="the advice")
    kafka.jobs(topic, *({"n": n} for n in range(20)))
    wait_for(lambda: len(project.events("end")) == 20, what="the jobs behind it")

    admin = AdminClient({"bootstrap.servers": kafka.address})
    entry = ConfigEntry("max.message.bytes", "100000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, small, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)
    wait_for(lambda: Letters(kafka, small).read(), what="the letter")

    assert project.log().count("ERROR lamplighter.queue.worker.failing: a failed job can't be recorded") == 1
    assert Letters(kafka, small).read()[0][1] == noise
    assert stop(worker) == 0
    assert kafka.committed(topic, topic) == kafka.ends(topic)
