"""Reads a topic from its beginning, or from a time on, to the end it has now, beside every group."""

import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.contracts import Headers
from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.polling.commit_errors import is_fatal
from lamplighter.kafka.settings.native import Consumer
from lamplighter.kafka.topics.metadata import missing_text
from lamplighter.support.clock import floor_ms

TIMEOUT = 8.0  # seconds for one question to the brokers
SILENCE = 30.0  # seconds without a message until the brokers count as gone
BATCH = 500
AHEAD = 5_000  # messages of one partition that wait for older ones of another
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


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be read of a partition: from `start` up to `end`, and nothing older than `since_ms`."""

    start: int
    end: int
    since_ms: int = NO_TIME


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
        consumer = Consumer(
            {
                **self._config,
                # A group is demanded by the client; nobody joins it.
                "group.id": f"lamplighter-replay-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                # What retention takes away meanwhile is passed over; the default would jump to the end.
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 16_384,
                "fetch.queue.backoff.ms": 5,
                "log_level": 0,  # what goes wrong is raised
            }
        )
        try:
            spans = self._spans(consumer, start)
        except KafkaException as error:
            consumer.close()
            raise self._unavailable(error.args[0].str()) from error
        except QueueError:
            consumer.close()
            raise
        return sum(span.end - span.start for span in spans.values()), self._read(consumer, spans)

    def _spans(self, consumer: Consumer, start: datetime | None) -> dict[int, Span]:
        found = consumer.list_topics(self._topic, timeout=TIMEOUT).topics.get(self._topic)
        if found is None or not found.partitions:
            raise QueueError(missing_text([self._topic], str(self._config["bootstrap.servers"])))
        spans = {}
        for number in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=TIMEOUT)
            if low < high:
                spans[number] = Span(low, high)
        if start is None:
            return spans
        # Stamps are cut to milliseconds: what was written later in this one has it as well. To the brokers a negative
        # time is a name, such as -1 of the end.
        return self._since(consumer, spans, max(0, floor_ms(start.timestamp())))

    def _since(self, consumer: Consumer, spans: dict[int, Span], since_ms: int) -> dict[int, Span]:
        offsets = self._offsets(consumer, spans, since_ms)
        if any(offset < 0 for offset in offsets.values()) and max(self._offsets(consumer, spans, 0).values()) < 0:
            # The embedded broker finds no offset for any time, so that each message is looked at.
            return {number: Span(span.start, span.end, since_ms) for number, span in spans.items()}
        return {
            number: Span(max(span.start, offsets[number]), span.end)
            for number, span in spans.items()
            if 0 <= offsets[number] < span.end
        }

    def _offsets(self, consumer: Consumer, spans: Mapping[int, Span], time_ms: int) -> dict[int, int]:
        """The first offset at or after a time, by partition; negative where there is none."""
        wanted = [TopicPartition(self._topic, number, time_ms) for number in spans]
        found = consumer.offsets_for_times(wanted, timeout=TIMEOUT) if wanted else []
        return {tp.partition: tp.offset for tp in found}

    def _read(self, consumer: Consumer, spans: Mapping[int, Span]) -> Iterator[Record]:
        try:
            consumer.assign([TopicPartition(self._topic, number, span.start) for number, span in spans.items()])
            yield from _Merge(consumer, self._topic, spans).records()
        except KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error
        finally:
            consumer.close()

    def _unavailable(self, reason: str) -> BrokerUnavailable:
        brokers = self._config["bootstrap.servers"]
        return BrokerUnavailable(f"The brokers {brokers} can't be read: {reason}")


class _Merge:
    """Partitions read side by side: the oldest head is next, and who is far ahead pauses."""

    def __init__(self, consumer: Consumer, topic: str, spans: Mapping[int, Span]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._spans = spans
        self._buffers: dict[int, deque[Record]] = {number: deque() for number in spans}
        self._open = set(spans)  # not read to their ends
        self._paused: set[int] = set()
        self._heard_at = 0.0

    def records(self) -> Iterator[Record]:
        """All of them; KafkaException when the brokers refuse or are gone."""
        buffers = self._buffers
        while True:
            self._heard_at = time.monotonic()
            # An open partition that shows no head could have the oldest message of all.
            while not all(buffers[number] for number in self._open):
                self._fetch()
            heads = [(buffer[0].timestamp_ms, number) for number, buffer in buffers.items() if buffer]
            if not heads:
                return
            number = min(heads)[1]
            yield buffers[number].popleft()
            if number in self._paused and len(buffers[number]) < AHEAD // 2:
                self._paused.remove(number)
                self._consumer.resume([TopicPartition(self._topic, number)])

    def _fetch(self) -> None:
        # One `consume` alone would wait its whole time for a batch to be full.
        message = self._consumer.poll(0.5)
        if message is not None:
            for some in (message, *self._consumer.consume(BATCH, 0)):
                self._sort(some)
        if time.monotonic() - self._heard_at > SILENCE:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing came for {SILENCE:g} s"))

    def _sort(self, message: KafkaMessage) -> None:
        error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if is_fatal(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(error)
            return  # told about brokers that are away; silence decides
        self._heard_at = time.monotonic()
        if number not in self._open:
            return
        span, buffer = self._spans[number], self._buffers[number]
        if error is None and offset < span.end:
            record = _record(message)
            if record.timestamp_ms >= span.since_ms:
                buffer.append(record)
        # What has no end of its own, as behind transaction markers, ends with the log or with what is newer.
        if error is not None or offset + 1 >= span.end:
            self._open.discard(number)
            self._paused.discard(number)
            self._consumer.pause([TopicPartition(self._topic, number)])
        elif len(buffer) >= AHEAD and number not in self._paused:
            self._paused.add(number)
            self._consumer.pause([TopicPartition(self._topic, number)])


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
