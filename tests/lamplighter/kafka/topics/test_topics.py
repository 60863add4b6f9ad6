"""What is told about topics, and the topics of the embedded broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.topics import topics as topics_module
from lamplighter.kafka.topics.topics import Topic, Topics
from tests.harness import Project

FINE = {
    "cleanup.policy": "delete",
    "retention.ms": "2592000000",
    "retention.bytes": "-1",
    "min.insync.replicas": "2",
    "max.message.bytes": "1048588",
}


@pytest.fixture
def project(tmp_path: Path, framework: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    project = Project(tmp_path, environment={"KAFKA_BROKERS": "embedded"})
    yield project
    project.close()


def topic(*, partitions: int = 4, replicas: int = 3, **config: str) -> Topic:
    """A topic that is as it should be, but for what is said."""
    return Topic("store", partitions, replicas, {**FINE, **{k.replace("_", "."): v for k, v in config.items()}})


@pytest.mark.parametrize(
    "good",
    [topic(), topic(retention_ms="-1"), topic(replicas=2), topic(partitions=1), Topic("store", 4, 1, {})],
    ids=["the usual", "kept for ever", "just enough replicas", "one partition", "nothing known"],
)
def test_a_good_topic_has_no_problem(good: Topic) -> None:
    assert good.problems(max_message_bytes=1_000_000) == []


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (topic(cleanup_policy="compact"), "cleanup.policy is compact"),
        (topic(cleanup_policy="compact,delete"), "cleanup.policy is compact"),
        (topic(retention_ms="0"), "retention is 0"),
        (topic(retention_bytes="0"), "retention is 0"),
        (topic(replicas=1), "min.insync.replicas is more than its replicas"),
        (topic(partitions=0), "no partition"),
        (topic(max_message_bytes="500000"), "max.message.bytes is less"),
    ],
)
def test_a_topic_that_would_lose_or_refuse_jobs_has_a_problem(bad: Topic, problem: str) -> None:
    problems = bad.problems(max_message_bytes=1_000_000)

    assert len(problems) == 1
    assert problem in problems[0]


def test_brokers_that_can_not_be_reached_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_module, "TIMEOUT", 0.5)
    settings = KafkaSettings(brokers="127.0.0.1:1")

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 can't be reached: .*refused"):
        Topics(settings, settings.client_config()).missing(["store"])


def test_the_embedded_broker_makes_topics_by_being_asked(broker: EmbeddedBroker) -> None:
    settings = KafkaSettings(brokers="embedded")
    topics = Topics(settings, settings.client_config(broker.address()))

    missing = topics.missing(["store", "api"])

    assert missing == []
    assert topics.describe(["store", "api"]) == [Topic("store", 4, 1, {}), Topic("api", 4, 1, {})]


@pytest.mark.parametrize("options", [(), ("--create",)])
def test_kafka_topics_says_that_they_come_by_themselves(project: Project, options: tuple[str, ...]) -> None:
    done = project.artisan("kafka:topics", *options)

    assert "come by themselves" in done.stdout
    assert "store" in done.stdout
    assert "api" in done.stdout
