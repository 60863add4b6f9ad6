"""Looks at the first record of partitions, from an offset on: which it is, and when it was written."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lamplighter.errors import QueueError
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.reader import Reader
from lamplighter.kafka.reading.spans import Span
from lamplighter.kafka.settings.native import Message as KafkaMessage

PATIENCE = 3.0  # seconds for all partitions; what does not come is not told
# One record of each partition is looked at.
OPTIONS: Mapping[str, Any] = {
    "fetch.message.max.bytes": 64 * 1024,
    "queued.min.messages": 1,
    "fetch.wait.max.ms": 100,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A record; its time is in milliseconds since 1970, -1 where it has none."""

    offset: int
    timestamp_ms: int


class Records:
    """Reads one record of each partition, and that once, as long as the log gets no shorter."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._reader = Reader(config, name="lag", options=OPTIONS)
        self._known: dict[PartitionId, tuple[Span, Seen | None]] = {}

    def look(self, spans: Mapping[PartitionId, Span]) -> dict[PartitionId, Seen | None]:
        """The first record of each span; None where it has none. Without those that can't be read, or not in time."""
        known = {place: seen for place, span in spans.items() if (seen := self._known_of(place, span)) is not None}
        found = {**known, **self._read({place: span for place, span in spans.items() if place not in known})}
        self._known = {place: (spans[place], seen) for place, seen in found.items()}
        return found

    def close(self) -> None:
        """Let go of the client."""
        self._reader.close()

    def _known_of(self, place: PartitionId, span: Span) -> Seen | None:
        before, seen = self._known.get(place, (None, None))
        # Where the log has become shorter, another record may stand there.
        return seen if before is not None and before.start == span.start and before.end <= span.end else None

    def _read(self, spans: Mapping[PartitionId, Span]) -> dict[PartitionId, Seen | None]:
        found: dict[PartitionId, Seen | None] = {}
        if not spans:
            return found
        reading = self._reader.open(spans)
        until = time.monotonic() + PATIENCE
        # Whoever may ask for offsets need not have the right to read.
        with suppress(QueueError):
            while reading.open and (left := until - time.monotonic()) > 0:
                for message in reading.take(left):
                    place = message.topic() or "", message.partition() or 0
                    # One is enough, and a fetch brings many.
                    found.setdefault(place, _seen(message))
                    reading.leave(place)
        # To their ends came those that have markers of transactions alone.
        found.update({place: None for place in spans if place not in found and place not in reading.open})
        reading.close()
        return found


def _seen(message: KafkaMessage) -> Seen:
    kind, timestamp = message.timestamp()
    return Seen(message.offset() or 0, timestamp if kind else -1)
