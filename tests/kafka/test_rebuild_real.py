"""`datastore:rebuild` from a real Apache Kafka, beside the worker's group."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from sqlalchemy import create_engine, text

from tests.harness import Broker, Project
from tests.raw import send_raw

pytestmark = [pytest.mark.kafka, pytest.mark.any_version]


def event(job: str, key: bytes, data: dict[str, Any]) -> tuple[bytes, bytes]:
    """An event as the gateway puts it onto the topic."""
    envelope = {"displayName": job, "job": job, "maxTries": None, "timeout": None, "data": data, "id": key.decode()}
    return key, json.dumps({**envelope, "attempts": 0}).encode()


def create(number: int) -> tuple[bytes, bytes]:
    """A create."""
    values = {"name": f"Provider {number}", "published": number % 2}
    return event("job.data.store", b"p%d" % number, {"type": "provider", "values": values})


def update(number: int) -> tuple[bytes, bytes]:
    """A change of that row, under its key."""
    data = {"type": "provider", "id": f"p{number}", "values": {"name": f"Renamed {number}"}}
    return event("job.data.update", b"p%d" % number, data)


@pytest.fixture
def project(tmp_path: Path, kafka: Broker) -> Iterator[Project]:
    """A Data Store on topics of its own."""
    topic = kafka.topic("store")
    project = Project(
        tmp_path,
        environment={
            "KAFKA_BROKERS": kafka.address,
            "KAFKA_QUEUE": topic,
            "KAFKA_API_QUEUE": kafka.topic("api"),
            "KAFKA_CONSUMER_GROUP_ID": topic,
            "DB_DATABASE": str(tmp_path / "database.sqlite"),
        },
        jobs=None,
    )
    project.artisan("migrate", "--force")
    yield project
    project.close()


def rows(project: Project, columns: str) -> list[Any]:
    """The providers."""
    engine = create_engine(f"sqlite:///{project.environment['DB_DATABASE']}")
    with engine.connect() as connection:
        found = list(connection.execute(text(f"SELECT {columns} FROM provider ORDER BY id")))
    engine.dispose()
    return found


def test_a_rebuild_makes_the_same_rows_beside_the_workers_group(project: Project, kafka: Broker) -> None:
    topic, answers = project.environment["KAFKA_QUEUE"], project.environment["KAFKA_API_QUEUE"]
    kafka.publish(topic, [*map(create, range(40)), *map(update, range(0, 40, 3)), create(5), update(999)])
    worker = project.worker("--stop-when-empty", "--sleep=1", "--memory=0")
    status = worker.wait(60)
    before = rows(project, "id, name, published"), kafka.committed(topic, topic), kafka.ends(answers)

    refused = project.artisan("datastore:rebuild", check=False)
    project.artisan("datastore:rebuild", "--empty")
    first = rows(project, "*")
    project.artisan("datastore:rebuild", "--empty")

    assert status == 0, project.log()
    assert (refused.returncode, "has rows" in refused.stderr) == (1, True)
    assert (rows(project, "id, name, published"), kafka.committed(topic, topic), kafka.ends(answers)) == before
    assert rows(project, "*") == first
    assert len(first) == 40


def test_whatever_is_in_the_topic_the_events_are_found(project: Project, kafka: Broker) -> None:
    topic = project.environment["KAFKA_QUEUE"]
    kafka.alter(topic, "message.timestamp.after.max.ms", str(2**63 - 1))
    names: list[tuple[bytes, bytes | None]] = [(b"caf\xe9", b"1"), (b"\xff", None)]
    key, value = create(1)
    odd = json.dumps({"job": "job.data.store", "data": {"type": "provider", "\ud800": {"\ud800": 1e308}}}).encode()
    send_raw(
        kafka.address, topic, (key, value, names), (b"\xff", odd, names), (None, b"\xff" * 9, []), (None, None, [])
    )
    producer = Producer({"bootstrap.servers": kafka.address})
    for number, stamp in enumerate((0, 1, 253_402_300_800_000, 2**62), 2):
        producer.produce(topic, create(number)[1], create(number)[0], 0, timestamp=stamp)
    assert producer.flush(20) == 0

    done = project.artisan("datastore:rebuild", check=False)

    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stdout + done.stderr
    assert rows(project, "id") == [("p1",), ("p2",), ("p3",), ("p4",), ("p5",)]
