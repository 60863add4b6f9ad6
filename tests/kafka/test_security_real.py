"""A broker that asks who is there."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Broker, Node, Project, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# A semicolon would end the setting: the properties file is told of it by its number.
OPTIONS = (
    "listeners=PLAINTEXT://127.0.0.1:{0},CONTROLLER://127.0.0.1:{1},SASL_PLAINTEXT://127.0.0.1:{2};"
    "advertised.listeners=PLAINTEXT://127.0.0.1:{0},SASL_PLAINTEXT://127.0.0.1:{2};"
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT;"
    "sasl.enabled.mechanisms=PLAIN;"
    "listener.name.sasl_plaintext.plain.sasl.jaas.config="
    'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="secret"\\u003B'
)

DISPATCH = """
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch
dispatch(Probe(n=1))
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, kafka: Broker) -> Iterator[tuple[Broker, str]]:
    """A broker, and the address at which it asks for a password."""
    port = free_ports()
    node = Node(tmp_path_factory.mktemp("kafka"), port, options=OPTIONS.format(port, port + 1, port + 2))
    yield Broker(node.address), f"127.0.0.1:{port + 2}"
    node("down")


@pytest.fixture
def project(tmp_path: Path, guarded: tuple[Broker, str]) -> Iterator[Project]:
    """A project that names itself alice, with the right password."""
    broker, address = guarded
    topic = broker.topic()
    environment = {
        "KAFKA_BROKERS": address,
        "KAFKA_QUEUE": topic,
        "KAFKA_CONSUMER_GROUP_ID": topic,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISMS": "PLAIN",
        "KAFKA_SASL_USERNAME": "alice",
        "KAFKA_SASL_PASSWORD": "secret",
        "DB_DATABASE": str(tmp_path / "database.sqlite"),
    }
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def test_the_right_credentials_work(project: Project) -> None:
    sent = project.python(DISPATCH)

    status = project.worker("--stop-when-empty", "--sleep=1").wait(60)

    assert (sent.returncode, status) == (0, 0), sent.stderr + project.log()
    assert project.numbers("end") == [1]


def test_wrong_credentials_end_the_worker_with_an_error(project: Project) -> None:
    began = time.monotonic()

    status = project.worker(KAFKA_SASL_PASSWORD="wrong-word").wait(30)

    assert status == 1
    assert time.monotonic() - began < 10
    assert "Check credentials and ACLs" in project.log()
    assert "wrong-word" not in project.log()


def test_wrong_credentials_are_told_to_who_dispatches(project: Project) -> None:
    project.environment["KAFKA_SASL_PASSWORD"] = "wrong-word"

    began = time.monotonic()
    sent = project.python(DISPATCH)

    assert sent.returncode == 1
    assert time.monotonic() - began < 8
    assert "Check credentials" in sent.stderr
    assert "wrong-word" not in sent.stderr
