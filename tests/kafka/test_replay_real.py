"""Reading a whole topic of a real Apache Kafka beside its groups."""

import uuid
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from lamplighter.kafka.reading.replay import Replay
from tests.harness import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.any_version]


def publish(kafka: Broker, topic: str, *messages: tuple[int, int, bytes]) -> None:
    """Put (partition, milliseconds, value) onto a topic."""
    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0})
    for number, stamp, value in messages:
        producer.produce(topic, value, b"key", number, timestamp=stamp)
    assert producer.flush(20) == 0


def read(kafka: Broker, topic: str, start: datetime | None = None) -> list[bytes | None]:
    _, records = Replay({"bootstrap.servers": kafka.address}, topic).open(start=start)
    return [record.value for record in records]


@pytest.fixture
def now() -> int:
    """The present, in milliseconds: Kafka deletes what is older than its retention."""
    return round(datetime.now(UTC).timestamp() * 1000)


def test_partitions_are_merged_by_time(kafka: Broker, topic: str, now: int) -> None:
    publish(kafka, topic, (0, now + 1, b"a"), (0, now + 4, b"d"), (1, now + 2, b"b"), (3, now + 3, b"c"))

    assert read(kafka, topic) == [b"a", b"b", b"c", b"d"]


def test_from_a_time_on(kafka: Broker, topic: str, now: int) -> None:
    publish(kafka, topic, (0, now - 60_000, b"old"), (0, now, b"new"), (1, now - 50_000, b"old too"), (2, now, b"too"))

    assert read(kafka, topic, datetime.fromtimestamp((now - 1000) / 1000, UTC)) == [b"new", b"too"]
    assert read(kafka, topic, datetime.fromtimestamp((now + 60_000) / 1000, UTC)) == []


@pytest.mark.parametrize("start", ["1969-12-31T23:59:59.999+00:00", "1960-01-01T00:00:00+00:00"])
def test_from_a_time_before_all_times_is_from_the_beginning(kafka: Broker, topic: str, now: int, start: str) -> None:
    publish(kafka, topic, (0, now, b"a"), (1, now + 1, b"b"))

    assert read(kafka, topic, datetime.fromisoformat(start)) == [b"a", b"b"]


def test_the_end_is_found_behind_transactions(kafka: Broker, topic: str) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka.address, "transactional.id": f"test-{uuid.uuid4()}", "retry.backoff.ms": 5}
    )
    producer.init_transactions(30)
    for value, is_kept in ((b"kept", True), (b"aborted", False), (b"kept too", True)):
        producer.begin_transaction()
        producer.produce(topic, value, b"key", 0)
        producer.flush(20)
        if is_kept:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    assert read(kafka, topic) == [b"kept", b"kept too"]


def test_nothing_is_committed_and_no_group_is_left(kafka: Broker, topic: str, now: int) -> None:
    publish(kafka, topic, *((n % 4, now + n, b"%d" % n) for n in range(3000)))

    values = read(kafka, topic)

    assert values == [b"%d" % n for n in range(3000)]
    assert kafka.committed(topic, topic) == {}
