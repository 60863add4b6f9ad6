"""A producer that meets a fatal error is replaced, by one other, and tells what it had in hand."""

import logging
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.producing import clients
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.native import Producer
from lamplighter.queue.dispatching.pushes import Pushes
from tests.faults.mock import INIT_PRODUCER_ID, PRODUCE, Cluster
from tests.threads import THREADS, at_once

OUT_OF_ORDER = KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER
ONE = Message(b"1", None, ())


@pytest.fixture
def cluster() -> Cluster:
    """A mock cluster of the test's own, with a topic."""
    cluster = Cluster(1)
    cluster.do("topic", "store", 2)
    return cluster


@pytest.fixture
def producer(cluster: Cluster) -> Iterator[KafkaProducer]:
    """A producer that a broker can tell that it is out of order."""
    config = {"bootstrap.servers": cluster.address(), "enable.idempotence": True, "message.timeout.ms": 9000}
    producer = KafkaProducer({**config, "max.in.flight.requests.per.connection": 1}, timeout=10)
    yield producer
    producer.close(timeout=5)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    """The producers of librdkafka that are made from now on."""
    made: list[Producer] = []

    def make(config: dict[str, object]) -> Producer:
        time.sleep(0.05)  # as long as other threads need to come here, too
        made.append(Producer(config))
        return made[-1]

    monkeypatch.setattr(clients, "Producer", make)
    return made


def test_many_threads_make_one_producer(made: list[Producer], producer: KafkaProducer) -> None:
    outcomes = at_once(lambda: producer.send("store", [(ONE, 0)], bulk=False))

    assert (outcomes, len(made)) == ([1] * THREADS, 1)


def test_after_a_fatal_error_one_push_fails_and_the_next_one_works(
    cluster: Cluster, producer: KafkaProducer, caplog: pytest.LogCaptureFixture
) -> None:
    producer.send("store", [(ONE, 0)], bulk=False)
    cluster.do("errors", PRODUCE, OUT_OF_ORDER)

    with pytest.raises(BrokerUnavailable, match="out of order") as told:
        producer.send("store", [(ONE, 0)], bulk=False)
    count = producer.send("store", [(ONE, 0)], bulk=False)

    assert count == 1
    assert "redentials" not in str(told.value)
    assert [record.levelno for record in caplog.records if "can't go on" in record.message] == [logging.WARNING]


def test_what_a_lost_producer_had_in_hand_is_reported_as_failed(cluster: Cluster, producer: KafkaProducer) -> None:
    producer.send("store", [(ONE, 0)], bulk=False)
    cluster.do("rtt", 1, 300)
    cluster.do("errors", PRODUCE, OUT_OF_ORDER)
    told: list[QueueError | None] = []
    pushes = Pushes()

    for number in (0, 0, 1, 1):
        producer.send_soon("store", ONE, number, lambda error, _: told.append(error))
    producer.send_ahead("store", ONE, 1, pushes)
    until = time.monotonic() + 20
    while producer.ahead and time.monotonic() < until:
        producer.serve(0.05)

    assert (producer.ahead, len(told)) == (0, 4)
    assert any(isinstance(error, BrokerUnavailable) for error in told)
    assert all(error is None or "push it again" in str(error) or "out of order" in str(error) for error in told)
    assert pushes.error is None or isinstance(pushes.error, BrokerUnavailable)
    assert not pushes.when_reported(lambda: None)


def test_many_threads_that_meet_a_fatal_error_have_one_replacement(
    cluster: Cluster, made: list[Producer], producer: KafkaProducer
) -> None:
    producer.send("store", [(ONE, 0)], bulk=False)
    cluster.do("errors", PRODUCE, OUT_OF_ORDER)

    first = at_once(lambda: producer.send("store", [(ONE, 0)], bulk=False))
    second = at_once(lambda: producer.send("store", [(ONE, 0)], bulk=False))

    assert set(map(type, first)) in ({int, BrokerUnavailable}, {BrokerUnavailable})
    assert second == [1] * THREADS
    assert len(made) == 2


def test_a_close_outlives_a_fatal_error(cluster: Cluster, producer: KafkaProducer) -> None:
    producer.send("store", [(ONE, 0)], bulk=False)
    cluster.do("errors", PRODUCE, OUT_OF_ORDER)
    told: list[QueueError | None] = []
    producer.send_soon("store", ONE, 0, lambda error, _: told.append(error))

    is_all = producer.close(timeout=10)

    assert (is_all, producer.ahead) == (True, 0)
    assert [type(error) for error in told] == [BrokerUnavailable]


def test_a_producer_that_may_not_write_says_what_to_look_at(cluster: Cluster, producer: KafkaProducer) -> None:
    cluster.do("errors", INIT_PRODUCER_ID, *[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 20)

    with pytest.raises(QueueError, match=r"Check credentials and ACLs\.$"):
        producer.send("store", [(ONE, 0)], bulk=False)
