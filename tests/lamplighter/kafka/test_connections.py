"""Connections by their names in the configuration."""

from pathlib import Path
from typing import Any

import pytest

from lamplighter.config import Repository
from lamplighter.errors import ConfigError
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
    connections = connection_of(tmp_path, ssl_ca_location=given)

    assert connections.settings("kafka").ssl_ca_location == meant.format(project=tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"security_protocol": "FOO"}, 'Invalid value "FOO" for configuration property "security.protocol"'),
        ({"security_protocol": "SASL_SSL", "sasl_mechanisms": "FOO"}, "Unsupported SASL mechanism: FOO"),
        ({"consumer_options": {"no.such": 1}}, 'No such configuration property: "no.such"'),
        ({"producer_options": {"acks": 0}}, "`acks` must be set to `all`"),
    ],
)
def test_what_the_client_refuses_is_told_before_a_worker_or_a_push_meets_it(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    connections = connection_of(tmp_path, **options)

    with pytest.raises(ConfigError, match=rf"config/kafka\.py .*{told}"):
        connections.queue("kafka")


def connection_of(folder: Path, **options: Any) -> KafkaConnections:
    """Connections with one of these options."""
    connection = {"driver": "kafka", **options}
    return KafkaConnections(
        Application(folder),
        Repository({"queue": {"connections": {"kafka": connection}}}),
        Merge(queue={}, kafka={"kafka": connection}),
        EmbeddedBroker(folder, environment="testing"),
        BrokerClock(),
        LazyDatabases(lambda: None),  # type: ignore[arg-type, return-value]  # nothing is made
    )
