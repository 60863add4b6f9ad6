"""What a worker on the new group protocol learns about its membership, on the embedded broker."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from lamplighter.kafka.polling import membership
from lamplighter.kafka.polling.membership import EVERY, Membership, refusal
from tests.harness import Project, stop, wait_for


@pytest.fixture
def project(tmp_path: Path, framework: Path) -> Iterator[Project]:
    """A project on the embedded broker, with the new protocol."""
    project = Project(
        tmp_path,
        environment={
            "KAFKA_BROKERS": "embedded",
            "KAFKA_GROUP_PROTOCOL": "consumer",
            "DB_DATABASE": str(tmp_path / "database.sqlite"),
        },
    )
    yield project
    project.close()


def test_the_embedded_broker_knows_the_protocol(project: Project) -> None:
    worker = project.worker("--sleep=1", LOG_LEVEL="info")
    wait_for(lambda: "partitions assigned" in project.log(), what="the assignment")

    status = stop(worker)

    assert status == 0, project.log()


def test_a_name_that_two_workers_have_is_told_with_what_to_do() -> None:
    error = KafkaError(KafkaError._FATAL, "Static consumer fenced by other consumer with same group.instance.id")
    config = {"bootstrap.servers": "a:1", "group.instance.id": "one"}

    told = str(refusal(error, config))

    assert "a:1" in told
    assert "group_instance_id 'one'" in told
    assert "give each its own" in told


@pytest.mark.parametrize(
    ("code", "is_told"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, True),
        (KafkaError._AUTHENTICATION, True),
        (KafkaError.UNSUPPORTED_VERSION, False),
        (KafkaError._FATAL, False),
    ],
)
def test_credentials_are_advised_where_access_was_refused_and_nowhere_else(code: int, is_told: bool) -> None:
    told = str(refusal(KafkaError(code), {"bootstrap.servers": "a:1", "group.instance.id": "one"}))

    assert told.endswith("Check credentials and ACLs.") == is_told
    assert "group_instance_id" not in told


def test_a_client_that_can_not_be_made_is_told_once_and_made_at_a_later_look(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []

    def fail(config: dict[str, Any]) -> None:
        made.append(config)
        raise OSError("ca.pem is missing")

    monkeypatch.setattr(membership, "AdminClient", fail)
    asking = Membership({"bootstrap.servers": "127.0.0.1:1", "group.id": "g"})
    consumer: Any = None

    found = [asking.is_confirmed(consumer, time.monotonic() + look * EVERY) for look in (1, 2, 3)]

    assert found == [False] * 3
    assert len(made) == 3
    assert [vars(record)["reason"] for record in caplog.records] == ["OSError: ca.pem is missing"]
