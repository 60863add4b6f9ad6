"""A bulk push that ends in the middle waits for what it has sent, and says how much of it has arrived."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.producing import clients
from lamplighter.kafka.producing import producer as producing
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.native import Producer
from tests.faults.mock import PRODUCE, Cluster
from tests.harness import Broker

ONE = (Message(b"1", None, ()), 0)


@pytest.fixture
def cluster() -> Cluster:
    """A mock cluster of the test's own, with a topic."""
    cluster = Cluster(1)
    cluster.do("topic", "store", 1)
    return cluster


@pytest.fixture
def producer(cluster: Cluster) -> Iterator[KafkaProducer]:
    """One that pushes there."""
    config = {"bootstrap.servers": cluster.address(), "message.max.bytes": 2000, "linger.ms": 0}
    producer = KafkaProducer({**config, "max.in.flight.requests.per.connection": 1}, timeout=10)
    producer.look_for("store")
    yield producer
    producer.close(timeout=1)


def then(error: type[BaseException]) -> Iterator[tuple[Message, int]]:
    """Three messages and an error."""
    yield from (ONE, ONE, ONE)
    raise error


@pytest.mark.parametrize("is_bulk", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_whoever_gives_the_messages_leaves_none_alone(
    cluster: Cluster, producer: KafkaProducer, error: type[BaseException], is_bulk: bool
) -> None:
    cluster.do("rtt", 1, 50)

    with pytest.raises(error) as told:
        producer.send("store", then(error), bulk=is_bulk)

    assert told.value.__notes__ == ["3 of 3 messages that were sent are acknowledged."]
    assert Broker(cluster.address()).ends("store") == {0: 3}


@pytest.mark.parametrize("is_bulk", [True, False])
def test_one_that_is_too_large_leaves_none_before_it_alone(
    cluster: Cluster, producer: KafkaProducer, is_bulk: bool
) -> None:
    cluster.do("rtt", 1, 50)
    began = time.monotonic()

    with pytest.raises(MessageTooLarge, match=r"claim_check\. 2 of 2 messages that were sent are acknowledged\.$"):
        producer.send("store", [ONE, ONE, (Message(b"x" * 3000, None, ()), 0), ONE], bulk=is_bulk)

    assert time.monotonic() - began < 5  # what was not sent is not waited for
    assert Broker(cluster.address()).ends("store") == {0: 2}


def test_an_error_of_the_first_message_is_told_as_it_is(producer: KafkaProducer) -> None:
    with pytest.raises(MessageTooLarge, match=r"claim_check\.$"):
        producer.send("store", [(Message(b"x" * 3000, None, ()), 0)], bulk=True)


def test_a_missing_topic_is_told_before_any_message_is_taken(broker: EmbeddedBroker) -> None:
    producer = KafkaProducer({"bootstrap.servers": broker.address()}, timeout=10)
    taken: list[int] = []

    with pytest.raises(QueueError, match="No topic is called"):
        producer.send("a\0b", (taken.append(n) or ONE for n in range(3)), bulk=True)  # type: ignore[func-returns-value]

    assert (taken, producer.close(timeout=5)) == ([], True)


def test_a_bad_report_ends_a_bulk_push(cluster: Cluster, producer: KafkaProducer) -> None:
    cluster.do("errors", PRODUCE, 0, 0, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    taken: list[int] = []

    def many() -> Iterator[tuple[Message, int]]:
        for n in range(1000):
            taken.append(n)
            time.sleep(0.001)
            yield ONE

    with pytest.raises(QueueError, match=r"ACLs\. \d+ of \d+ messages that were sent are acknowledged\.$") as told:
        producer.send("store", many(), bulk=True)

    arrived, sent = (int(word) for word in str(told.value).split() if word.isdecimal())
    assert 0 < arrived < sent <= len(taken) < 1000
    assert Broker(cluster.address()).ends("store").get(0, 0) == arrived


def test_a_bulk_push_has_a_bounded_number_on_its_way(
    cluster: Cluster, producer: KafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "MOST_SENT", 20)
    made: list[Producer] = []
    monkeypatch.setattr(clients, "Producer", lambda config: made.append(Producer(config)) or made[-1])  # type: ignore[func-returns-value]
    producer.close(timeout=5)
    cluster.do("rtt", 1, 20)
    on_their_way: list[int] = []

    def many() -> Iterator[tuple[Message, int]]:
        for _ in range(200):
            on_their_way.append(len(made[0]))
            yield ONE

    count = producer.send("store", many(), bulk=True)

    assert (count, len(made)) == (200, 1)
    assert 15 <= max(on_their_way) <= 21


def test_ctrl_c_is_not_held_up_by_brokers_that_are_silent(cluster: Cluster, producer: KafkaProducer) -> None:
    cluster.do("rtt", 1, 60_000)
    began = time.monotonic()

    with pytest.raises(KeyboardInterrupt) as told:
        producer.send("store", then(KeyboardInterrupt), bulk=True)

    assert 1.5 < time.monotonic() - began < 5
    assert told.value.__notes__ == ["0 of 3 messages that were sent are acknowledged."]
