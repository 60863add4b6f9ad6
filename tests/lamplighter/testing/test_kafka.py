"""The driver `kafka` keeps what every connection promises of worker processes, on an embedded broker and a real one."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lamplighter.testing.conformance import ProcessConformance
from lamplighter.testing.project import Project
from tests.harness import Broker, end_broker


class KafkaConformance(ProcessConformance):
    """A partition is leased to a worker as long as its session lasts; a killed worker's moves after that.

    The first crash of a job may leave no mark: only after one is each start told to the broker before it.
    """

    lease = 3.0
    uncounted = 1
    lacks: ClassVar[Mapping[str, str]] = {
        "priority": "topics have weights, and each worker has partitions of its own",
        "weights": "they share what has been fetched; test_scheduler.py looks at it",
    }
    provider = "lamplighter.kafka.provider:KafkaServiceProvider"

    @pytest.fixture
    def brokers(self) -> str:
        """The address of the brokers."""
        raise NotImplementedError

    @pytest.fixture
    def config(self, brokers: str, queues: tuple[str, str]) -> Mapping[str, Any]:
        """The connection, with a group of the test's own."""
        return {
            "driver": "kafka",
            "queue": queues[0],
            "topics": [queues[1]],
            "consumer_group_id": queues[0],
            "brokers": brokers,
            "session_timeout": self.lease,
            "delay_store": "kafka",
        }


@pytest.mark.slow
@pytest.mark.long
class TestEmbedded(KafkaConformance):
    """On the broker that a project without one starts for itself."""

    @pytest.fixture
    def brokers(self) -> str:
        """It has none yet."""
        return "embedded"

    @pytest.fixture
    def project(self, tmp_path: Path, config: Mapping[str, Any]) -> Iterator[Project]:
        """A project whose broker ends with the test."""
        project = Project(tmp_path / "project", config, provider=self.provider)
        yield project
        end_broker(project.folder / "storage/framework")
        project.close()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.kafka
class TestReal(KafkaConformance):
    """On a real one."""

    @pytest.fixture
    def brokers(self) -> str:
        """The broker that CI promised, or that somebody has started with scripts/kafka."""
        address = os.environ.get("KAFKA_TEST_BROKERS", "")
        if not address and os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Kafka, and KAFKA_TEST_BROKERS is not set")
        if not address:
            pytest.skip("no real Kafka: start one with `scripts/kafka up` and set KAFKA_TEST_BROKERS")
        return address

    @pytest.fixture
    def queues(self, brokers: str) -> tuple[str, str]:
        """Two topics of the test's own."""
        broker = Broker(brokers)
        return broker.topic("first"), broker.topic("second")
