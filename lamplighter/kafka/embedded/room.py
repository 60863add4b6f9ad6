"""Keeps the embedded broker from dropping what nobody has read."""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from lamplighter.contracts import Message
from lamplighter.errors import EmbeddedBrokerFull

LIMIT = 4 * 1024 * 1024  # bytes of a partition; the mock drops its oldest beyond 5 MB
MOST = 50_000  # messages of a partition; the mock drops its oldest beyond 100,000 batches
OVERHEAD = 100  # bytes that a message has beside its key and value, at most
LOOK_AFTER = 64 * 1024  # bytes pushed by us until we look at what others have pushed
TIMEOUT = 5.0


@dataclass(slots=True)
class Known:
    """What is known of one partition: the sizes of its messages, from `first` to `end`."""

    first: int
    end: int
    sizes: dict[int, int]
    unread: int
    pushed: int


class Room:
    """Chooses the partition of a push, and refuses one that would make the mock drop jobs of a group."""

    def __init__(self, config: Mapping[str, Any], groups: Mapping[str, str]) -> None:
        self._config = dict(config)
        self._groups = dict(groups)
        self._known: dict[tuple[str, int], Known] = {}
        self._counts: dict[str, int] = {}
        self._readers: dict[str, Consumer] = {}
        self._turn = itertools.count(random.randrange(1000))

    def place(self, topic: str, message: Message) -> int:
        """The partition for a message.

        Raises:
            EmbeddedBrokerFull: its group has to read first.
        """
        count = self._counts.get(topic) or self._partitions(topic)
        number = partition_for(message.key, count) if message.key else next(self._turn) % count
        if topic in self._groups:
            self._check(topic, number, len(message.payload) + len(message.key or b"") + OVERHEAD)
        return number

    def _check(self, topic: str, number: int, size: int) -> None:
        known = self._known.get((topic, number))
        is_near = known is not None and known.unread + known.pushed + size > LIMIT
        if known is None or is_near or known.pushed + size > LOOK_AFTER:
            known = self._look(topic, number)
        if known.unread + known.pushed + size > LIMIT or len(known.sizes) >= MOST:
            raise EmbeddedBrokerFull(
                f"{topic}[{number}] of the embedded broker is full: {known.unread:,} bytes that the group "
                f"{self._groups[topic]!r} has not read. Start a worker, or set KAFKA_BROKERS to a real Kafka."
            )
        known.pushed += size

    def _look(self, topic: str, number: int) -> Known:
        """Read the sizes of what was pushed since the last look, by whomever."""
        reader = self._reader(topic)
        tp = TopicPartition(topic, number)
        low, high = reader.get_watermark_offsets(tp, timeout=TIMEOUT)
        committed = reader.committed([tp], timeout=TIMEOUT)[0].offset
        first = max(low, committed if committed >= 0 else low)
        known = self._known.get((topic, number)) or Known(first, first, {}, 0, 0)
        sizes = {offset: size for offset, size in known.sizes.items() if offset >= first}
        sizes.update(self._sizes(reader, topic, number, max(first, known.end), high))
        fresh = self._known[topic, number] = Known(first, high, sizes, sum(sizes.values()), 0)
        return fresh

    def _sizes(self, reader: Consumer, topic: str, number: int, start: int, end: int) -> dict[int, int]:
        sizes: dict[int, int] = {}
        if start >= end:
            return sizes
        reader.assign([TopicPartition(topic, number, start)])
        offset = start
        while offset < end:
            for message in reader.consume(500, 0.1):
                if message.error() is None:
                    offset = (message.offset() or 0) + 1
                    sizes[offset - 1] = len(message.value() or b"") + len(message.key() or b"") + OVERHEAD
            if not sizes and reader.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT)[0] >= end:
                break
        reader.unassign()
        return sizes

    def _reader(self, topic: str) -> Consumer:
        group = self._groups[topic]
        reader = self._readers.get(group)
        if reader is None:
            config = {**self._config, "group.id": group, "enable.auto.commit": False, "fetch.wait.max.ms": 10}
            reader = self._readers[group] = Consumer(config)
        return reader

    def _partitions(self, topic: str) -> int:
        reader = self._reader(topic) if topic in self._groups else self._any_reader()
        found = reader.list_topics(topic, timeout=TIMEOUT).topics[topic]
        self._counts[topic] = count = max(1, len(found.partitions))
        return count

    def _any_reader(self) -> Consumer:
        reader = self._readers.get("")
        if reader is None:
            reader = self._readers[""] = Consumer({**self._config, "group.id": "lamplighter-room"})
        return reader


def partition_for(key: bytes, count: int) -> int:
    """The partition that JVM clients choose for a key, and librdkafka's murmur2 partitioners too."""
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit MurmurHash2 (org.apache.kafka.common.utils.Utils.murmur2)."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for index in range(0, whole, 4):
        k = int.from_bytes(data[index : index + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
