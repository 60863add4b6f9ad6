"""What is counted of a connection, on the embedded broker and beside a table that may be away."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from lamplighter.contracts import Message
from lamplighter.errors import Unavailable
from lamplighter.kafka.delays.delayed_message import wrap
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.monitoring.counting import Counting, Delayed, Row
from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.settings.settings import KafkaSettings

SETTINGS = KafkaSettings(brokers="embedded", queue="store", consumer_group_id="shop", delay_store="kafka")
NEVER = 4_000_000_000.0  # seconds since 1970


@dataclass
class Rows:
    """The table of long delays, with so many jobs of each queue; or away."""

    count_of_each: int = 0
    is_away: bool = False

    def count(self, queue: str | None = None) -> int:
        if self.is_away:
            raise Unavailable("the database is away")
        return self.count_of_each

    def all(self, *, most: int) -> Sequence[Row]:
        if self.is_away:
            raise Unavailable("the database is away")
        return ()


@pytest.fixture
def address(broker: EmbeddedBroker) -> str:
    """Where a fresh broker is."""
    return broker.address()


def counting(address: str, rows: Rows | None = None) -> Counting:
    """What counts for the connection, with this table."""
    return Counting(SETTINGS, lambda: {"bootstrap.servers": address}, rows=lambda: rows)


def publish(address: str, topic: str, *messages: Message) -> None:
    """Put these into partition 0 of a topic."""
    producer = Producer({"bootstrap.servers": address, "log_level": 0})
    for message in messages:
        producer.produce(topic, message.payload, message.key, 0, headers=list(message.headers))
    assert producer.flush(10) == 0


def commit(address: str, offset: int, metadata: str) -> None:
    """As a worker of the group does, of store[0]."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "shop", "log_level": 0})
    consumer.assign([TopicPartition("store", 0)])
    consumer.commit(offsets=[TopicPartition("store", 0, offset, metadata)], asynchronous=False)
    consumer.close()


def delayed_job(queue: str) -> Message:
    """One that waits until long after this test."""
    return wrap(Message(b'{"id":"7","job":"probe"}', b"k"), queue, due=NEVER, sent=NEVER - 1)


def test_what_is_finished_beyond_the_commit_is_not_pending(address: str) -> None:
    publish(address, "store", *[Message(b"{}")] * 10)
    commit(address, 2, OffsetMap(8, True, 8, (2, 5)).encode(2))

    sizes = counting(address).sizes("store")

    # 2 and 5 were overtaken, 8 and 9 were not begun.
    assert (sizes.pending, sizes.delayed, sizes.notes) == (4, 0, ())


def test_a_log_that_is_shorter_than_the_commit_is_pending_and_noted(address: str) -> None:
    publish(address, "store", *[Message(b"{}")] * 3)
    commit(address, 7, "")

    sizes = counting(address).sizes("store")

    assert sizes.pending == 3
    assert ["shorter than what was committed" in note for note in sizes.notes] == [True]


def test_what_waits_in_topics_and_in_the_table_counts_by_its_queue(address: str) -> None:
    tier = SETTINGS.tiers.topics()[-1]
    publish(address, tier, delayed_job("store"), delayed_job("other"), delayed_job("store"), Message(b"rubbish"))

    # What none of us has written goes to the default queue, and fails there.
    assert counting(address, Rows(5)).delayed(["store", "other"]) == Delayed({"store": 8, "other": 6})


def test_a_table_that_is_away_leaves_what_is_delayed_unknown(address: str) -> None:
    publish(address, "store", Message(b"{}"))

    sizes = counting(address, Rows(is_away=True)).sizes("store")

    assert (sizes.pending, sizes.delayed, sizes.unknown) == (1, None, "the database is away")


def test_what_is_held_is_listed_the_earliest_first_and_not_more_than_is_asked_for(address: str) -> None:
    publish(address, SETTINGS.tiers.topics()[-1], delayed_job("store"), Message(b"\xff", b"\xff"), delayed_job("store"))

    held = counting(address).held(most=2)

    assert [(job.job_id, job.name) for job in held] == [("", "unreadable payload (not ours)"), ("7", "probe")]
    assert held[1].due == NEVER
