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
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.settings.merge import Merge


@pytest.mark.parametrize(
    ("given", "meant"),
    [("certs/ca.pem", "{project}/certs/ca.pem"), ("/etc/ca.pem", "/etc/ca.pem"), ("probe", "probe"), ("", "")],
)
def test_certificates_are_looked_for_in_the_projects_folder(tmp_path: Path, given: str, meant: str) -> None:
    connections = connection_of(tmp_path, ssl_ca_location=given)

    assert connections.settings("kafka").ssl_ca_location == meant.format(project=tmp_path)


def test_a_connection_that_is_none_of_ours_is_told_which_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no connection 'kafak' with the driver kafka; they have kafka\."):
        connection_of(tmp_path).settings("kafak")


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


def test_the_embedded_broker_is_told_who_reads_what(framework: Path) -> None:
    connections = connections_of(
        framework,
        {
            "kafka": {"brokers": "embedded", "queue": "store", "topics": ["api"], "consumer_group_id": "workers"},
            "audit": {
                "brokers": "embedded",
                "queue": "store",
                "dead_letter_topic": "letters",
                "consumer_options": {"group.id": "auditors"},  # librdkafka's own settings win
            },
            "real": {"brokers": "localhost", "queue": "elsewhere", "topics": ["far"]},
            "wrong": {"brokers": "embedded", "queue": "wrong", "no_such_key": 1},
        },
    )

    connections.client_config("kafka")

    told = BrokerFolder(framework).readers()
    assert told.groups["store"] == ["workers", "auditors"]
    assert told.groups["workers.delay.60"] == ["workers.delays"]
    assert not {"elsewhere", "wrong"} & set(told.groups)
    assert (told.others, told.written, told.kept) == (["auditors", "workers"], ["api", "letters"], [])


@pytest.mark.parametrize("driver", [None, "null"])
def test_dead_letters_that_are_the_only_record_keep_the_embedded_broker(framework: Path, driver: str | None) -> None:
    options = {"brokers": "embedded", "dead_letter_topic": "letters"}
    connections = connections_of(framework, {"kafka": options}, failed={"driver": driver})

    connections.client_config("kafka")

    told = BrokerFolder(framework).readers()
    assert (told.written, told.kept) == ([], ["letters"])


def connection_of(folder: Path, **options: Any) -> KafkaConnections:
    """Connections with one of these options."""
    return connections_of(folder, {"kafka": options})


def connections_of(
    folder: Path, connections: dict[str, dict[str, Any]], *, failed: dict[str, Any] | None = None
) -> KafkaConnections:
    """These connections, with the embedded broker in the folder."""
    named = {name: {"driver": "kafka", **options} for name, options in connections.items()}
    return KafkaConnections(
        Application(folder),
        Repository({"queue": {"connections": named, "failed": failed or {}}}),
        Merge(queue={}, kafka=named),
        EmbeddedBroker(folder, environment="testing"),
        BrokerClock(),
        LazyDatabases(lambda: None),  # type: ignore[arg-type, return-value]  # nothing is made
    )
