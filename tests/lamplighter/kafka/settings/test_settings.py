"""The options of a Kafka connection."""

import re
from dataclasses import fields
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from confluent_kafka import Consumer

from lamplighter.errors import ConfigError
from lamplighter.kafka.queue import KafkaQueue, weights
from lamplighter.kafka.settings.merge import Merge
from lamplighter.kafka.settings.settings import KafkaSettings, read_settings, with_ports


def settings(**options: Any) -> KafkaSettings:
    """What a connection's options become."""
    return read_settings(options, where=lambda key: "config/kafka.py")


@pytest.mark.parametrize(
    ("queue", "kafka", "told"),
    [
        (
            {"kafka": {"broker": "a"}},
            {"kafka": {}},
            r"config/queue\.py \(connections\.kafka\) has the unknown key 'broker'",
        ),
        (
            {"kafka": {}},
            {"kafka": {"broker": "a"}},
            r"config/kafka\.py \(connections\.kafka\) has the unknown key 'broker'",
        ),
        ({"kafka": {"partitions": "few"}}, {"kafka": {"partitions": 4}}, r"config/queue\.py .*'partitions'.* int"),
        ({}, {"kafka": {"dispatch_timeout": []}}, r"config/kafka\.py .*'dispatch_timeout'.* float"),
    ],
)
def test_a_bad_key_names_the_file_that_said_it(queue: dict[str, Any], kafka: dict[str, Any], told: str) -> None:
    merge = Merge(queue={"connections": queue}, kafka={"connections": kafka})

    with pytest.raises(ConfigError, match=told):
        read_settings(merge.result()["connections"]["kafka"], where=merge.origin("kafka"))


@pytest.mark.parametrize(
    ("brokers", "told", "session"), [("embedded", 10, 3000), ("embedded", 2, 2000), ("localhost", 10, 10_000)]
)
def test_a_session_on_the_embedded_broker_is_short(brokers: str, told: float, session: int) -> None:
    config = settings(brokers=brokers, session_timeout=told).consumer_config("127.0.0.1:1")

    assert config["session.timeout.ms"] == session
    assert config["heartbeat.interval.ms"] <= session / 3


def test_a_session_is_never_shorter_than_it_was_set() -> None:
    config = settings(brokers="localhost", session_timeout=6.0002, max_poll_interval=60.0002).consumer_config()

    assert (config["session.timeout.ms"], config["max.poll.interval.ms"]) == (6001, 60_001)
    assert config["heartbeat.interval.ms"] <= 6000.2 / 3


def test_the_new_protocol_leaves_sessions_and_assignments_to_the_brokers() -> None:
    config = settings(group_protocol="consumer", session_timeout=3).consumer_config()

    assert config["group.protocol"] == "consumer"
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & set(config)
    Consumer({**config, "log_level": 0}).close()  # the client takes them together


def test_the_classic_protocol_is_what_nobody_has_to_ask_for() -> None:
    config = settings().consumer_config()

    assert config["partition.assignment.strategy"] == "cooperative-sticky"
    assert not {"group.protocol", "group.instance.id"} & set(config)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_static_member_has_its_name_with_both_protocols(protocol: str) -> None:
    config = settings(group_protocol=protocol, group_instance_id="worker-1").consumer_config()

    assert config["group.instance.id"] == "worker-1"
    Consumer({**config, "log_level": 0}).close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"group_protocol": "consumer", "options": {"session.timeout.ms": 1}},
            r"session\.timeout\.ms among its options",
        ),
        (
            {"group_protocol": "consumer", "consumer_options": {"partition.assignment.strategy": "range"}},
            r"partition\.assignment\.strategy among its consumer_options.*set group_protocol to classic",
        ),
        ({"consumer_options": {"group.protocol": "consumer"}}, r"Set the key group_protocol instead"),
        ({"group_protocol": "share"}, r"'group_protocol', which takes classic or consumer"),
    ],
)
def test_what_the_protocol_does_not_take_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings(**options)


@pytest.mark.parametrize(
    ("brokers", "servers"),
    [("localhost", "localhost:9092"), ("a, b:1 ,,c", "a:9092,b:1,c:9092"), ("[::1]:9092", "[::1]:9092")],
)
def test_brokers_have_ports(brokers: str, servers: str) -> None:
    assert with_ports(brokers) == servers


def test_a_folder_for_large_payloads_is_the_same_for_everybody() -> None:
    with pytest.raises(ConfigError, match=r"config/kafka\.py has 'claims' .* takes an absolute path"):
        settings(claim_check="claims")


def test_a_dead_letter_topic_is_written_to() -> None:
    assert settings(topics="api").written == ("api",)
    assert settings(topics="api", dead_letter_topic="dead").written == ("api", "dead")


@pytest.mark.parametrize("brokers", ["", " , "])
def test_brokers_that_are_left_blank_are_an_error(brokers: str) -> None:
    with pytest.raises(ConfigError, match=r"config/kafka\.py names no broker.*KAFKA_BROKERS"):
        settings(brokers=brokers)


def test_brokers_may_stand_among_librdkafkas_own_settings() -> None:
    config = settings(brokers="", options={"bootstrap.servers": "a:1"}).client_config()

    assert config["bootstrap.servers"] == "a:1"


@pytest.mark.parametrize(
    "options",
    [
        {"security_protocol": "sasl_plaintext", "sasl_username": "u", "sasl_password": "p"},
        {"security_protocol": "SASL_PLAINTEXT", "sasl_plain_username": "u", "sasl_plain_password": "p"},
        {"sasl_enable": True, "sasl_plain_username": "u", "sasl_plain_password": "p"},
    ],
)
def test_credentials_are_taken_under_the_new_names_and_the_php_drivers(options: dict[str, Any]) -> None:
    for config in (settings(**options).consumer_config(), settings(**options).producer_config()):
        assert {name: config[name] for name in config if name.startswith(("sasl", "security"))} == {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": "u",
            "sasl.password": "p",
        }


def test_a_certificate_turns_the_php_drivers_switch_into_tls() -> None:
    config = settings(sasl_enable=True, ssl_ca_location="/ca.pem").client_config()

    assert (config["security.protocol"], config["ssl.ca.location"]) == ("SASL_SSL", "/ca.pem")


def test_librdkafkas_own_settings_win_each_in_its_place() -> None:
    found = settings(
        options={"socket.timeout.ms": 1, "linger.ms": 7},
        consumer_options={"fetch.wait.max.ms": 2},
        producer_options={"acks": 1},
    )

    consumer, producer = found.consumer_config(), found.producer_config()
    assert (consumer["socket.timeout.ms"], consumer["fetch.wait.max.ms"]) == (1, 2)
    assert (producer["linger.ms"], producer["acks"]) == (7, 1)
    assert "acks" not in consumer


def test_what_protects_jobs_is_on() -> None:
    consumer, producer = settings().consumer_config(), settings().producer_config()

    assert (consumer["enable.auto.commit"], consumer["enable.auto.offset.store"]) == (False, False)
    assert consumer["auto.offset.reset"] == "earliest"
    assert producer["enable.idempotence"] is True
    assert producer["message.timeout.ms"] < settings().dispatch_timeout * 1000


def test_secrets_are_not_shown() -> None:
    shown = repr(settings(sasl_password="hunter2", sasl_plain_password="hunter2", options={"sasl.password": "hunter2"}))

    assert "hunter2" not in shown


@pytest.mark.parametrize("names", [["dead"], ["store", "dead:2"]])
def test_failed_jobs_are_not_worked_where_they_are_written_to(names: list[str]) -> None:
    queue = KafkaQueue("kafka", settings(brokers="127.0.0.1:1", dead_letter_topic="dead"), address=lambda: None)

    with pytest.raises(ConfigError, match=r"dead is the dead_letter_topic .*`queue:retry`"):
        queue.open(names, SimpleQueue())


@pytest.mark.parametrize("name", ["high:abc", "high:0", "high:-1", "high:1.5", "high:", ":5", "low"])
def test_a_weight_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"--queue has '{name}': .* a whole number from 1"):
        weights(["low:3", name])


@pytest.mark.parametrize("name", ["a b", "\udcff", "a\0", "é:3"])
def test_a_name_that_no_topic_has_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no topic is called"):
        weights(["low:3", name])


def test_queues_without_a_weight_have_eight_times_that_of_the_next() -> None:
    assert weights(["a", "b:3", "c"]) == {"a": 64, "b": 3, "c": 1}


def test_every_setting_is_in_the_guide() -> None:
    guide = (Path(__file__).parents[4] / "docs/kafka.md").read_text()

    told = re.findall(r"`(\w+)`", guide.partition("## Settings")[2])

    assert {field.name for field in fields(KafkaSettings)} - {"driver"} <= set(told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prefetch": 0}, "has 0 for the key 'prefetch', which takes 1 at least"),
        ({"session_timeout": 0}, "'session_timeout', which takes 0.1 at least"),
        ({"retry_in_place": float("nan")}, "has nan for the key 'retry_in_place'"),
        ({"key_block_limit": -3}, "'key_block_limit', which takes 0 at least"),
        ({"sleep_on_error": -1}, "'sleep_on_error', which takes 0 at least"),
        ({"sleep_on_error": 1e12}, "'sleep_on_error', which takes 86400 at most"),
        ({"max_poll_interval": 4_294_968}, "'max_poll_interval', which takes 86400 at most"),
        ({"consumer_group_id": ""}, "has nothing for the key 'consumer_group_id'"),
        ({"queue": " "}, "has nothing for the key 'queue'"),
        ({"dead_letter_topic": "dead letters"}, "'dead letters' for the key 'dead_letter_topic'"),
        ({"topics": "api, re plies"}, "'re plies' for the key 'topics'"),
        ({"consumer_group_id": "caf\udce9"}, "a text that is no UTF-8 for the key 'consumer_group_id'"),
        ({"group_instance_id": "caf\udce9"}, "a text that is no UTF-8 for the key 'group_instance_id'"),
        ({"sasl_password": "caf\udce9"}, "a text that is no UTF-8 for the key 'sasl_password'"),
        ({"options": {"client.rack": "caf\udce9"}}, "a text that is no UTF-8 for the key 'options'"),
        ({"delay_prefix": "our delays/"}, "'our delays/' for the key 'delay_prefix'"),
    ],
)
def test_a_number_or_a_name_that_nothing_runs_with_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=rf"config/kafka\.py .*{told}"):
        settings(**options)


def test_delay_topics_have_names_that_brokers_take_whatever_the_group_is_called() -> None:
    assert settings(consumer_group_id="orders:v1").tiers.topics()[0] == "orders_v1.delay.1"
