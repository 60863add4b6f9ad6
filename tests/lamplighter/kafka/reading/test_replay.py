"""Reading a whole topic beside its groups, on the embedded broker."""

import os
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.reading import reader as reader_module
from lamplighter.kafka.reading import replay as replay_module
from lamplighter.kafka.reading.replay import Record, Replay
from tests.lamplighter.kafka.records import record

START = 1_795_000_000_000  # milliseconds


@pytest.fixture
def address(broker: EmbeddedBroker) -> str:
    """Where a fresh broker is."""
    return broker.address()


def publish(address: str, *messages: tuple[int, int, bytes]) -> None:
    """Put (partition, milliseconds after START, value) onto `store`."""
    producer = Producer({"bootstrap.servers": address, "log_level": 0})
    for number, after, value in messages:
        producer.produce("store", value, b"key", number, timestamp=START + after, headers=[("trace", b"1")])
    assert producer.flush(10) == 0


def replay(address: str) -> Replay:
    return Replay({"bootstrap.servers": address, "fetch.wait.max.ms": 10}, "store")


def values(records: Sequence[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_every_message_is_read_with_all_that_it_has(address: str) -> None:
    publish(address, (2, 7, b"one"))

    total, records = replay(address).open()

    assert (total, list(records)) == (1, [Record(b"key", b"one", [("trace", b"1")], START + 7, 2, 0)])


def test_partitions_are_merged_by_time_and_each_keeps_its_order(address: str) -> None:
    publish(address, (0, 1, b"a"), (0, 4, b"d"), (1, 2, b"b"), (1, 5, b"e"), (3, 3, b"c"), (3, 1, b"late"))

    _, records = replay(address).open()

    assert values(list(records)) == [b"a", b"b", b"c", b"late", b"d", b"e"]


def test_a_partition_far_ahead_waits_for_the_older_ones(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "AHEAD", 10)
    publish(address, *((0, 10_000 + n, b"new %d" % n) for n in range(700)))
    publish(address, *((1, n, b"old %d" % n) for n in range(700)))

    total, records = replay(address).open()
    read = values(list(records))

    assert total == 1400
    assert read == [b"old %d" % n for n in range(700)] + [b"new %d" % n for n in range(700)]


class Paused:
    """A reading of two partitions, one message a batch: the first has the newer ones, which are large."""

    def __init__(self) -> None:
        self.open = {("store", 0), ("store", 1)}
        self.told: list[tuple[str, int]] = []
        self.buffered = 0

    def batches(self) -> Iterator[list[Message]]:
        """The large ones first, as long as they are not paused."""
        for n in range(50):
            if self.told[-1:] == [("pause", 0)]:
                break
            self.buffered += 1
            yield [message(0, n, b"x" * 100_000, START + 1_000_000)]
        yield from ([message(1, n, b"old", START + n)] for n in range(3))
        self.open.remove(("store", 1))
        yield []
        yield from ([message(0, n, b"last", START + 2_000_000)] for n in range(50, 53))
        self.open.clear()
        yield []

    def pause(self, place: tuple[str, int]) -> None:
        self.told.append(("pause", place[1]))

    def resume(self, place: tuple[str, int]) -> None:
        self.told.append(("resume", place[1]))


def message(number: int, offset: int, value: bytes, at: int) -> Message:
    """What the client gives of `store`."""
    return record(offset, value, b"k", at=at / 1000, number=number)


def test_large_messages_that_are_ahead_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "AHEAD_BYTES", 1_000_000)
    reading: Any = Paused()

    read = values(list(replay_module._Merge(reading, set(reading.open), -1).records()))

    assert read == [b"old"] * 3 + [b"x" * 100_000] * 10 + [b"last"] * 3
    assert reading.buffered == 10
    assert reading.told == [("pause", 0), ("resume", 0)]


def test_it_ends_where_the_topic_ended_when_it_began(address: str) -> None:
    publish(address, (0, 1, b"a"), (1, 2, b"b"))

    total, records = replay(address).open()
    publish(address, (0, 3, b"later"), (2, 4, b"elsewhere"))

    assert (total, values(list(records))) == (2, [b"a", b"b"])


def test_from_a_time_on_even_where_the_broker_knows_no_times(address: str) -> None:
    publish(address, (0, 0, b"old"), (0, 1000, b"first"), (1, 500, b"old too"), (1, 2000, b"second"))

    _, records = replay(address).open(start=datetime.fromtimestamp((START + 1000) / 1000, UTC))

    assert values(list(records)) == [b"first", b"second"]


def test_a_message_of_the_millisecond_in_which_the_time_lies_is_read(address: str) -> None:
    publish(address, (0, 0, b"old"), (0, 1000, b"first"))

    _, records = replay(address).open(start=datetime.fromtimestamp((START + 1000.7) / 1000, UTC))

    assert values(list(records)) == [b"first"]


def test_what_was_dropped_is_passed_over(address: str) -> None:
    publish(address, *((0, n, b"%d" % n + b"x" * 200_000) for n in range(40)))

    total, records = replay(address).open()
    offsets = [record.offset for record in records]

    assert 0 < total < 40
    assert offsets == list(range(40 - total, 40))


def test_a_topic_without_messages_is_read_at_once(address: str) -> None:
    Producer({"bootstrap.servers": address, "log_level": 0}).list_topics("store", timeout=10)

    total, records = replay(address).open()

    assert (total, list(records)) == (0, [])


def test_a_missing_topic_says_what_to_do(address: str) -> None:
    with pytest.raises(QueueError, match="kafka:topics --create"):
        replay(address).open()


def test_a_group_stays_where_it_is(address: str) -> None:
    publish(address, (0, 1, b"a"), (0, 2, b"b"))
    worker = Consumer({"bootstrap.servers": address, "group.id": "workers", "log_level": 0})
    worker.commit(offsets=[TopicPartition("store", 0, 1)], asynchronous=False)

    _, records = replay(address).open()
    read = len(list(records))

    assert (read, worker.committed([TopicPartition("store", 0)], timeout=10)[0].offset) == (2, 1)
    worker.close()


def test_brokers_that_are_away_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "TIMEOUT", 0.3)

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        replay("127.0.0.1:1").open()


def test_brokers_that_go_away_meanwhile_are_not_waited_for(
    broker: EmbeddedBroker, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SILENCE", 1.0)
    publish(address, *((0, n, b"x" * 200_000) for n in range(20)))
    _, records = replay(address).open()
    running = broker.running()
    assert running is not None

    os.kill(running.pid, signal.SIGKILL)

    with pytest.raises(BrokerUnavailable, match="can't be read"):
        list(records)
