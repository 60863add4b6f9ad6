"""Reads partitions beside every group: from given offsets to given ends, or on from where they were read to."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from lamplighter.errors import QueueError
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.reading import Forget, Reading, tell_shorter, translated
from lamplighter.kafka.reading.spans import Position, Span
from lamplighter.kafka.settings.native import Consumer, TopicPartition
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.kafka.topics.metadata import missing_text
from lamplighter.support.forking import watch

TIMEOUT = 8.0  # seconds for one question to the brokers
SILENCE = 30.0  # seconds without a record until the brokers count as gone
OPTIONS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # What retention takes away meanwhile is passed over; the default would jump to the end.
    "auto.offset.reset": "earliest",
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 5,
    "log_level": 0,  # what goes wrong is raised
}


class Reader:
    """A client that joins no group and commits nothing; one thread uses it, for one reading at a time.

    What is in a transaction is read when that is committed, as the client does by itself: a partition ends at its last
    stable offset.

    A log that has become shorter than what was read of it is told by a WARNING that names both offsets. Whoever keeps
    what it has read passes a `forget`: that is called for the partition, which is read from its beginning then. Without
    one the reading goes on with what the client gives, be some of it there for the second time.

    Args:
        name: what it reads for, as the brokers' logs show it.
        silence: seconds without a record until the brokers count as gone; 30 where nothing is said.
        options: settings of the client that differ.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        name: str,
        silence: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.brokers = str(config["bootstrap.servers"])
        self.silence = SILENCE if silence is None else silence
        # A group is demanded by the client; nobody joins it.
        group = f"lamplighter-{name}-{uuid.uuid4()}"
        self._config = {**config, **OPTIONS, "group.id": group, **(options or {})}
        self._consumer: Consumer | None = None
        watch(self, in_child=Reader._begin_as_child)

    def _begin_as_child(self) -> None:
        """The client is the parent's."""
        self._consumer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the client; another one is made when it is needed."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    @property
    def consumer(self) -> Consumer:
        """The client, made when it is first needed; nobody else keeps it."""
        if self._consumer is None:
            self._consumer = Consumer(self._config)
        return self._consumer

    # asking ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def partitions(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions.

        Raises:
            QueueError: there is no such topic.
            BrokerUnavailable: no broker answers.
        """
        with translated(topic, self.brokers):
            found = self.consumer.list_topics(topic, timeout=TIMEOUT).topics.get(topic)
        if found is None or not found.partitions:
            raise QueueError(missing_text([topic], self.brokers))
        return sorted(found.partitions)

    def bounds(self, place: PartitionId) -> tuple[int, int]:
        """The first offset of a partition, and the end of what can be read: the last stable offset."""
        with translated(place[0], self.brokers):
            low, high = self.consumer.get_watermark_offsets(TopicPartition(*place), timeout=TIMEOUT)
        return low, high

    def offsets_at(self, places: Iterable[PartitionId], time_ms: int) -> dict[PartitionId, int]:
        """The first offset at or after a time; negative where there is none."""
        wanted = [TopicPartition(*place, time_ms) for place in places]
        with translated(wanted[0].topic if wanted else "", self.brokers):
            found = self.consumer.offsets_for_times(wanted, timeout=TIMEOUT) if wanted else []
        return {(tp.topic, tp.partition): tp.offset for tp in found}

    # reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def spans(
        self, topic: str, positions: Mapping[PartitionId, Position] | None = None, *, forget: Forget | None = None
    ) -> dict[PartitionId, Span]:
        """What there is to read of a topic now, behind what was read before.

        Raises:
            QueueError: there is no such topic.
            BrokerUnavailable: no broker answers.
        """
        spans: dict[PartitionId, Span] = {}
        for number in self.partitions(topic):
            place = topic, number
            low, end = self.bounds(place)
            position = (positions or {}).get(place, Position(low))
            if end < position.offset:
                tell_shorter(place, read_to=position.offset, cut_off_at=end)
                if forget is not None:
                    forget(place)
                position = Position(low)
            last = position.last
            if last is not None and last.offset >= low:
                # Read once more, though nothing may be new: another one in its place tells that the log was cut off.
                spans[place] = Span(last.offset, end, last)
            elif (start := max(low, position.offset)) < end:
                spans[place] = Span(start, end)
        return spans

    def open(self, spans: Mapping[PartitionId, Span], *, forget: Forget | None = None) -> Reading:
        """Begin to read; the caller closes the reading when it wants to begin another one."""
        return Reading(self.consumer, spans, brokers=self.brokers, silence=self.silence, forget=forget)

    def read(self, spans: Mapping[PartitionId, Span], *, forget: Forget | None = None) -> Iterator[KafkaMessage]:
        """The records of some partitions, those of each in their order.

        Raises:
            BrokerUnavailable: no broker answers, or nothing came for `silence` seconds.
            QueueError: the brokers refuse.
        """
        if not spans:
            return
        reading = self.open(spans, forget=forget)
        try:
            for batch in reading.batches():
                yield from batch
        finally:
            reading.close()
