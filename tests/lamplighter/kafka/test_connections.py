"""Connections by their names in the configuration."""

from pathlib import Path

import pytest

from lamplighter.config import Repository
from lamplighter.foundation.application import Application
from lamplighter.kafka.connections import KafkaConnections, LazyDatabases
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.merge import Merge


@pytest.mark.parametrize(
    ("given", "meant"),
    [("certs/ca.pem", "{project}/certs/ca.pem"), ("/etc/ca.pem", "/etc/ca.pem"), ("probe", "probe"), ("", "")],
)
def test_certificates_are_looked_for_in_the_projects_folder(tmp_path: Path, given: str, meant: str) -> None:
    connection = {"driver": "kafka", "ssl_ca_location": given}
    connections = KafkaConnections(
        Application(tmp_path),
        Repository({"queue": {"connections": {"kafka": connection}}}),
        Merge(queue={}, kafka={}),
        EmbeddedBroker(tmp_path, environment="testing"),
        BrokerClock(),
        LazyDatabases(lambda: None),  # type: ignore[arg-type, return-value]  # nothing is made
    )

    assert connections.settings("kafka").ssl_ca_location == meant.format(project=tmp_path)
