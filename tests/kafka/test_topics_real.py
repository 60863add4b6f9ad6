"""`kafka:topics` against a real Apache Kafka."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from lamplighter.errors import QueueError
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.topics.topics import DAY_MS, Topics
from tests.harness import Broker, Project

pytestmark = [pytest.mark.kafka, pytest.mark.any_version]


@pytest.fixture
def names() -> tuple[str, str]:
    """The topic that is worked and the one that is written to; neither is there."""
    name = f"test-topics-{uuid.uuid4().hex[:8]}"
    return name, f"{name}-api"


@pytest.fixture
def project(tmp_path: Path, kafka: Broker, names: tuple[str, str]) -> Iterator[Project]:
    """A project whose topics do not exist yet."""
    queue, api = names
    environment = {
        "KAFKA_BROKERS": kafka.address,
        "KAFKA_QUEUE": queue,
        "KAFKA_API_QUEUE": api,
        "KAFKA_CONSUMER_GROUP_ID": queue,
    }
    project = Project(tmp_path, environment=environment)
    yield project
    project.close()


def topics_of(kafka: Broker, **settings: int) -> Topics:
    made = KafkaSettings(brokers=kafka.address, partitions=settings.get("partitions", 4))
    return Topics(made, made.client_config())


def test_missing_topics_are_named_and_not_made(project: Project, kafka: Broker, names: tuple[str, str]) -> None:
    done = project.artisan("kafka:topics", check=False)

    assert done.returncode == 1
    assert "kafka:topics --create" in done.stdout + done.stderr
    assert all(name in done.stdout + done.stderr for name in names)
    assert topics_of(kafka).missing(names) == list(names)


def test_create_makes_them_and_a_second_time_changes_nothing(
    project: Project, kafka: Broker, names: tuple[str, str]
) -> None:
    first = project.artisan("kafka:topics", "--create")
    second = project.artisan("kafka:topics", "--create")

    assert "Created" in first.stdout
    assert "Created" not in second.stdout
    found = topics_of(kafka).describe(names)
    assert [(topic.name, topic.partitions) for topic in found] == [(name, 4) for name in names]
    assert {topic.config["retention.ms"] for topic in found} == {str(30 * DAY_MS)}
    assert {topic.config["cleanup.policy"] for topic in found} == {"delete"}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"cleanup.policy": "compact"}, "compact"),
        ({"min.insync.replicas": "3"}, "min.insync.replicas"),
        ({"retention.ms": "0"}, "retention is 0"),
        ({"max.message.bytes": "1000"}, "max.message.bytes"),
    ],
)
def test_a_wrong_topic_is_a_failure_that_says_why(
    project: Project, kafka: Broker, config: dict[str, str], problem: str
) -> None:
    project.environment["KAFKA_QUEUE"] = kafka.topic("test-wrong", partitions=4, **config)
    project.environment["COLUMNS"] = "300"

    done = project.artisan("kafka:topics", "--create", check=False)

    assert done.returncode == 1
    assert problem in done.stdout


def test_creating_moves_no_offset_and_leaves_no_group_behind(
    project: Project, kafka: Broker, topic: str, names: tuple[str, str]
) -> None:
    project.environment.update(KAFKA_QUEUE=topic, KAFKA_CONSUMER_GROUP_ID=topic)
    kafka.publish(topic, [(b"k", b"v")] * 3, partition=0)
    worker = Consumer({"bootstrap.servers": kafka.address, "group.id": topic, "log_level": 0})
    worker.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    worker.close()

    project.artisan("kafka:topics", "--create")

    assert kafka.committed(topic, topic) == {0: 2}
    groups = AdminClient({"bootstrap.servers": kafka.address}).list_consumer_groups().result(20).valid
    assert [group.group_id for group in groups if group.group_id.startswith("lamplighter-topics-")] == []


def test_a_first_group_joins_and_commits(kafka: Broker, topic: str) -> None:
    assert topics_of(kafka).warm_up(topic)


def test_a_refusal_names_the_topic_and_the_reason(kafka: Broker) -> None:
    with pytest.raises(QueueError, match="refuse the topic no/name"):
        topics_of(kafka).create(["no/name"])


def test_one_that_was_made_by_another_meanwhile_is_no_error(kafka: Broker, topic: str) -> None:
    topics = topics_of(kafka, partitions=7)

    topics.create([topic])

    assert topics.describe([topic])[0].partitions == 4
