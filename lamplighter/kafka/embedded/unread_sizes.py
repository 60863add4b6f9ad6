"""Looks at what a group has not read on the embedded broker, without joining the group."""

from collections.abc import Mapping
from typing import Any

from lamplighter.contracts import Headers
from lamplighter.errors import QueueError
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.reading.reader import Reader
from lamplighter.kafka.reading.reading import translated
from lamplighter.kafka.reading.spans import Span
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.kafka.settings.native import TopicPartition
from lamplighter.kafka.topics.metadata import no_topic_text

TIMEOUT = 5.0  # seconds for one question, and without a message
OPTIONS: Mapping[str, Any] = {
    # A topic comes by being asked for, as it does for a producer.
    "allow.auto.create.topics": True,
    # The mock does not wake a waiting fetch.
    "fetch.wait.max.ms": 10,
}

# A message set of one message has 61 bytes of its own, the message about 10; each header two lengths.
MESSAGE_BYTES = 100
HEADER_BYTES = 10


def size_of(payload: bytes | None, key: bytes | None, headers: Headers) -> int:
    """How many bytes a message takes in the broker's memory, at most."""
    size = MESSAGE_BYTES + len(payload or b"") + len(key or b"")
    for name, value in headers:
        size += HEADER_BYTES + len(name.encode("utf-8", "surrogatepass")) + len(value or b"")
    return size


class UnreadSizes:
    """Reads what a group has not read, by itself, and commits nothing."""

    def __init__(self, config: Mapping[str, Any], group: str) -> None:
        self._reader = Reader(config, name="placement", silence=TIMEOUT, options={**OPTIONS, "group.id": group})

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; it is made where it is missing. 0 for one that can't be.

        Raises:
            QueueError: no topic can have this name.
        """
        with translated(topic, self._reader.brokers):
            try:
                found = self._reader.consumer.list_topics(topic, timeout=TIMEOUT)
            except ValueError as error:
                raise QueueError(no_topic_text(topic, error)) from error
        return len(found.topics[topic].partitions)

    def unread(self, topic: str, number: int) -> tuple[int, int]:
        """The first offset that the group has not committed, and the end."""
        low, high = self._reader.bounds((topic, number))
        with translated(topic, self._reader.brokers):
            [committed] = self._reader.consumer.committed([TopicPartition(topic, number)], timeout=TIMEOUT)
        return max(low, committed.offset), high

    def sizes(self, topic: str, number: int, start: int, end: int) -> list[tuple[int, int]]:
        """Offset and size of each message from `start` up to `end`; what has come since is read next time."""
        spans = {(topic, number): Span(start, end)} if start < end else {}
        return [(message.offset() or 0, _size(message)) for message in self._reader.read(spans)]


def _size(message: KafkaMessage) -> int:
    return size_of(message.value(), message.key(), headers_of(message))
