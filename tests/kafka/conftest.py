"""A real Apache Kafka, where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Broker, Project

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="session")
def kafka() -> Broker:
    """The broker that CI promised, or that somebody has started with scripts/kafka."""
    address = os.environ.get("KAFKA_TEST_BROKERS")
    if not address:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Kafka, and KAFKA_TEST_BROKERS is not set")
        pytest.skip("no real Kafka: start one with `scripts/kafka up` and set KAFKA_TEST_BROKERS")
    return Broker(address)


@pytest.fixture(autouse=True)
def _is_there(kafka: Broker) -> None:
    """One that starts a broker of its own needs a real Kafka, too."""


@pytest.fixture
def topic(kafka: Broker) -> str:
    """A topic of the test's own."""
    return kafka.topic()


@pytest.fixture
def project(tmp_path: Path, kafka: Broker, topic: str) -> Iterator[Project]:
    """A project whose worker takes jobs from `topic`, in a group of the same name."""
    environment = {
        "KAFKA_BROKERS": kafka.address,
        "KAFKA_QUEUE": topic,
        "KAFKA_CONSUMER_GROUP_ID": topic,
        "DB_DATABASE": str(tmp_path / "database.sqlite"),
    }
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest, project: Project) -> str:
    """Each group protocol, set for the project."""
    chosen = str(request.param)
    project.configure(group_protocol=chosen)
    return chosen
