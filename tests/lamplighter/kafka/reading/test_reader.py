"""Reading beside every group, on the embedded broker: what there is, what is new, and logs that are others."""

import logging
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading import reader as reader_module
from lamplighter.kafka.reading.reader import Reader
from lamplighter.kafka.reading.records import Records, Seen
from lamplighter.kafka.reading.spans import Last, Position, Span

STORE = ("store", 0)
AT = 1_795_000_000_000  # milliseconds


@pytest.fixture
def address(broker: EmbeddedBroker) -> str:
    """Where a fresh broker is."""
    return broker.address()


@pytest.fixture
def reader(address: str) -> Iterator[Reader]:
    """A reader of it."""
    with reader_of(address) as reader:
        yield reader


def reader_of(address: str) -> Reader:
    return Reader({"bootstrap.servers": address, "fetch.wait.max.ms": 10}, name="test")


def publish(address: str, *values: bytes) -> None:
    """Put these onto store[0], the first one at AT, each a millisecond later."""
    producer = Producer({"bootstrap.servers": address, "log_level": 0})
    for number, value in enumerate(values):
        producer.produce("store", value, b"key", 0, timestamp=AT + number)
    assert producer.flush(10) == 0


def read(reader: Reader, known: dict[PartitionId, Position]) -> list[bytes | None]:
    """What is new behind these positions, which are moved; without what has to be forgotten."""
    values: list[bytes | None] = []

    def forget(place: PartitionId) -> None:
        known.pop(place, None)
        values.clear()

    reading = reader.open(reader.spans("store", known, forget=forget), forget=forget)
    for batch in reading.batches():
        values += [message.value() for message in batch]
    known.update(reading.positions())
    return values


def test_what_is_new_is_read_each_time(address: str, reader: Reader) -> None:
    known: dict[PartitionId, Position] = {}
    publish(address, b"a", b"b")
    first = read(reader, known)
    publish(address, b"c")

    assert (first, read(reader, known), read(reader, known)) == ([b"a", b"b"], [b"c"], [])


@pytest.mark.parametrize(
    ("known", "read_to"),
    [
        (Position(9, Last(8, 0, AT)), 9),
        (Position(2, Last(1, 0, AT - 5)), 2),
        (Position(3, Last(2, 7, AT + 2)), 3),
    ],
    ids=["it ends before that", "another time", "another epoch"],
)
def test_a_log_that_is_another_than_the_one_that_was_read_is_read_anew(
    address: str, reader: Reader, known: Position, read_to: int, caplog: pytest.LogCaptureFixture
) -> None:
    publish(address, b"a", b"b", b"c")

    assert read(reader, {STORE: known}) == [b"a", b"b", b"c"]
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING and "shorter" in record.msg]
    assert (vars(warning)["partition"], vars(warning)["read_to"]) == ("store[0]", read_to)
    assert vars(warning)["cut_off_at"] <= read_to


def test_a_topic_that_is_missing_and_brokers_that_are_away_are_told(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "TIMEOUT", 0.5)
    with pytest.raises(QueueError, match="no-such-topic"):
        reader.spans("no-such-topic")
    with reader_of("127.0.0.1:1") as away, pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        away.spans("store")


def test_the_first_record_of_each_span_is_looked_at_once(address: str) -> None:
    publish(address, b"a", b"b", b"c", b"d")
    records = Records({"bootstrap.servers": address})

    first = records.look({STORE: Span(1, 3)})
    longer = records.look({STORE: Span(1, 4)})
    known = dict(records._known)
    shorter = records.look({STORE: Span(1, 2)})
    records.close()

    assert first == longer == shorter == {STORE: Seen(1, AT + 1)}
    assert known == {STORE: (Span(1, 4), Seen(1, AT + 1))}
