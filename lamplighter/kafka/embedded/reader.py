"""Looks at what a group has not read on the embedded broker, without joining the group."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.contracts import Headers
from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.settings.native import Consumer

TIMEOUT = 5.0  # seconds for one question
BATCH = 500

# A message set of one message has 61 bytes of its own, the message about 10; each header two lengths.
MESSAGE_BYTES = 100
HEADER_BYTES = 10


def size_of(payload: bytes | None, key: bytes | None, headers: Headers) -> int:
    """How many bytes a message takes in the broker's memory, at most."""
    size = MESSAGE_BYTES + len(payload or b"") + len(key or b"")
    for name, value in headers:
        size += HEADER_BYTES + len(name.encode("utf-8", "surrogatepass")) + len(value or b"")
    return size


class Reader:
    """A client with a group's name that reads by itself, and commits nothing."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._brokers = str(config["bootstrap.servers"])
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                # A topic comes by being asked for, as it does for a producer.
                "allow.auto.create.topics": True,
                "log_level": 0,  # what goes wrong is raised
                # The mock does not wake a waiting fetch.
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 5,
            }
        )

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; it is made where it is missing. 0 for one that can't be."""
        with self._translated():
            return len(self._consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions)

    def unread(self, topic: str, number: int) -> tuple[int, int]:
        """The first offset that the group has not committed, and the end."""
        tp = TopicPartition(topic, number)
        with self._translated():
            low, high = self._consumer.get_watermark_offsets(tp, timeout=TIMEOUT)
            committed = self._consumer.committed([tp], timeout=TIMEOUT)[0].offset
        return max(low, committed), high

    def sizes(self, topic: str, number: int, start: int, end: int) -> list[tuple[int, int]]:
        """Offset and size of each message from `start` up to `end`."""
        found: list[tuple[int, int]] = []
        if start >= end:
            return found
        with self._translated():
            self._consumer.assign([TopicPartition(topic, number, start)])
            try:
                while start < end:
                    for message in self._some(topic):
                        start = (message.offset() or 0) + 1
                        found.append((start - 1, _size(message)))
            finally:
                self._consumer.unassign()
        # What has come since is read next time.
        return [(offset, size) for offset, size in found if offset < end]

    def _some(self, topic: str) -> list[KafkaMessage]:
        """At least one message. One `consume` alone would wait its whole time for a batch to be full."""
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            message = self._consumer.poll(TIMEOUT / 10)
            if message is not None and message.error() is None:
                more = self._consumer.consume(BATCH, 0)
                return [message, *(other for other in more if other.error() is None)]
        raise BrokerUnavailable(f"The embedded broker at {self._brokers} gives nothing of {topic} to read.")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise BrokerUnavailable(
                f"The embedded broker at {self._brokers} does not answer: {error.args[0].str()}"
            ) from error


def _size(message: KafkaMessage) -> int:
    return size_of(message.value(), message.key(), headers_of(message))
