"""Reads a topic from its beginning, or from a time on, to the end it has now, beside every group."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.metadata import missing_text

TIMEOUT = 10.0  # seconds for one question to the brokers
BATCH = 500


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a topic."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int


class Replay:
    """Reads one topic with a client that joins no group and commits nothing."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._config = dict(config)
        self._topic = topic

    def open(self, *, start: datetime | None = None) -> tuple[int, Iterator[Record]]:
        """How many messages there may be, and the messages, each partition's in order.

        Raises:
            BrokerUnavailable: no broker answers.
            QueueError: there is no such topic.
        """
        consumer = Consumer(
            {
                **self._config,
                # A group is demanded by the client; nobody joins it.
                "group.id": f"lamplighter-replay-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
            }
        )
        try:
            starts, ends = self._bounds(consumer, start)
        except KafkaException as error:
            consumer.close()
            brokers = self._config["bootstrap.servers"]
            raise BrokerUnavailable(f"The brokers {brokers} can't be read: {error.args[0].str()}") from error
        total = sum(max(0, ends[number] - offset) for number, offset in starts.items())
        return total, self._read(consumer, starts, ends)

    def _bounds(self, consumer: Consumer, start: datetime | None) -> tuple[dict[int, int], dict[int, int]]:
        found = consumer.list_topics(self._topic, timeout=TIMEOUT).topics.get(self._topic)
        if found is None or not found.partitions:
            consumer.close()
            raise QueueError(missing_text([self._topic], str(self._config["bootstrap.servers"])))
        starts, ends = {}, {}
        for number in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=TIMEOUT)
            starts[number], ends[number] = low, high
        if start is not None:
            stamp = round(start.timestamp() * 1000)
            wanted = [TopicPartition(self._topic, number, stamp) for number in starts]
            for tp in consumer.offsets_for_times(wanted, timeout=TIMEOUT):
                starts[tp.partition] = tp.offset if tp.offset >= 0 else ends[tp.partition]
        return starts, ends

    def _read(self, consumer: Consumer, starts: dict[int, int], ends: dict[int, int]) -> Iterator[Record]:
        left = {number for number, offset in starts.items() if offset < ends[number]}
        try:
            consumer.assign([TopicPartition(self._topic, number, starts[number]) for number in left])
            while left:
                for message in consumer.consume(BATCH, 0.2):
                    number = message.partition() or 0
                    error = message.error()
                    if error is not None:
                        if error.code() != KafkaError._PARTITION_EOF:
                            raise BrokerUnavailable(f"Reading {self._topic} failed: {error.str()}")
                        left.discard(number)
                        continue
                    offset = message.offset() or 0
                    if offset < ends[number]:
                        yield Record(message.key(), message.value(), number, offset)
                    if offset + 1 >= ends[number]:
                        left.discard(number)
        finally:
            consumer.close()
