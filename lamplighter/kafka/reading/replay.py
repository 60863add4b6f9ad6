"""Reads a topic from its beginning, or from a time on, to the end it has now, beside every group."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lamplighter.contracts import Headers
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.reader import Reader
from lamplighter.kafka.reading.reading import Reading
from lamplighter.kafka.reading.spans import Span
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.support.clock import floor_ms

AHEAD = 5_000  # messages of one partition that wait for older ones of another
AHEAD_BYTES = 16 * 1024 * 1024  # the bytes of their values
NO_TIME = -1


@dataclass(frozen=True, slots=True)
class Record:
    """One message of a topic; `timestamp_ms` is -1 where it has none."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    partition: int
    offset: int


class Replay:
    """Reads one topic with a client that joins no group and commits nothing."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._config = dict(config)
        self._topic = topic

    def open(self, *, start: datetime | None = None) -> tuple[int, Iterator[Record]]:
        """How many messages there are at most, and the messages: each partition's in order, merged by their times.

        Raises:
            BrokerUnavailable: no broker answers.
            QueueError: there is no such topic.
        """
        reader = Reader(self._config, name="replay")
        try:
            spans = reader.spans(self._topic)
            # Stamps are cut to milliseconds: what was written later in this one has it as well. To the brokers a
            # negative time is a name, such as -1 of the end.
            since_ms = NO_TIME if start is None else max(0, floor_ms(start.timestamp()))
            if start is not None:
                spans, since_ms = _since(reader, spans, since_ms)
        except BaseException:
            reader.close()
            raise
        return sum(span.end - span.start for span in spans.values()), _read(reader, spans, since_ms)


def _since(reader: Reader, spans: dict[PartitionId, Span], since_ms: int) -> tuple[dict[PartitionId, Span], int]:
    """What is to be read from a time on, and the time that each message is to be looked at for."""
    offsets = reader.offsets_at(spans, since_ms)
    if any(offset < 0 for offset in offsets.values()) and max(reader.offsets_at(spans, 0).values()) < 0:
        # The embedded broker finds no offset for any time.
        return spans, since_ms
    found = {
        place: Span(max(span.start, offsets[place]), span.end)
        for place, span in spans.items()
        if 0 <= offsets[place] < span.end
    }
    return found, NO_TIME


def _read(reader: Reader, spans: Mapping[PartitionId, Span], since_ms: int) -> Iterator[Record]:
    with reader:
        yield from _Merge(reader.open(spans), spans, since_ms).records()


class _Merge:
    """Partitions read side by side: the oldest head is next, and who is far ahead pauses."""

    def __init__(self, reading: Reading, places: Iterable[PartitionId], since_ms: int) -> None:
        self._reading = reading
        self._batches = reading.batches()
        self._since_ms = since_ms
        self._buffers: dict[PartitionId, deque[Record]] = {place: deque() for place in places}
        self._bytes = dict.fromkeys(self._buffers, 0)
        self._paused: set[PartitionId] = set()

    def records(self) -> Iterator[Record]:
        """All of them."""
        buffers = self._buffers
        while True:
            # An open partition that shows no head could have the oldest message of all.
            while not all(buffers[place] for place in self._reading.open):
                self._buffer(next(self._batches))
            heads = [(buffer[0].timestamp_ms, place) for place, buffer in buffers.items() if buffer]
            if not heads:
                return
            yield self._take(min(heads)[1])

    def _take(self, place: PartitionId) -> Record:
        record = self._buffers[place].popleft()
        self._bytes[place] -= len(record.value or b"")
        if place in self._paused and self._load(place) < 0.5:
            self._paused.remove(place)
            if place in self._reading.open:
                self._reading.resume(place)
        return record

    def _buffer(self, messages: list[KafkaMessage]) -> None:
        for message in messages:
            record, place = _record(message), (message.topic() or "", message.partition() or 0)
            if record.timestamp_ms >= self._since_ms:
                self._buffers[place].append(record)
                self._bytes[place] += len(record.value or b"")
        for place in self._reading.open - self._paused:
            if self._load(place) >= 1:
                self._paused.add(place)
                self._reading.pause(place)

    def _load(self, place: PartitionId) -> float:
        """How much of a partition waits, 1 being all that may."""
        return max(len(self._buffers[place]) / AHEAD, self._bytes[place] / AHEAD_BYTES)


def _record(message: KafkaMessage) -> Record:
    kind, timestamp = message.timestamp()
    return Record(
        message.key(),
        message.value(),
        headers_of(message),
        timestamp if kind else NO_TIME,
        message.partition() or 0,
        message.offset() or 0,
    )
