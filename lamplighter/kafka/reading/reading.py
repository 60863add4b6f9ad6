"""One reading: partitions on the way from their starts to their ends, and logs that become shorter meanwhile."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.spans import Last, Position, Span
from lamplighter.kafka.settings.client_errors import is_fatal
from lamplighter.kafka.settings.native import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from lamplighter.kafka.settings.native import Message as KafkaMessage

log = logging.getLogger(__name__)

TICK = 0.5  # seconds of one poll
BATCH = 500  # records of one call

Forget = Callable[[PartitionId], object]


@dataclass(slots=True)
class _Progress:
    """One partition of a reading.

    Attributes:
        offset: where the next record may stand.
        record: the last one that came.
        probe: the record that has to come first.
    """

    end: int
    offset: int
    record: KafkaMessage | None = None
    probe: Last | None = None


class Reading:
    """Partitions on the way from their starts to their ends.

    A partition has come to its end with the record before it, or where the client says that there is nothing more: the
    markers of transactions have offsets, and are never given.

    Args:
        silence: seconds without a record until the brokers count as gone.
        forget: see Reader.

    Attributes:
        open: the partitions that have not come to their ends.
    """

    def __init__(
        self,
        consumer: Consumer,
        spans: Mapping[PartitionId, Span],
        *,
        brokers: str,
        silence: float,
        forget: Forget | None,
    ) -> None:
        self.open = set(spans)
        self._consumer = consumer
        self._brokers = brokers
        self._silence = silence
        self._forget = forget
        self._of = {place: _Progress(span.end, span.start, probe=span.last) for place, span in spans.items()}
        self._sought: set[PartitionId] = set()  # in this batch: what else is in it of them is fetched once more
        self._has_heard = False
        self._topic = ", ".join(sorted({topic for topic, _ in spans}))
        with translated(self._topic, brokers):
            self._consumer.assign([TopicPartition(*place, span.start) for place, span in spans.items()])

    def batches(self) -> Iterator[list[KafkaMessage]]:
        """Records as they come, until all is read; a batch is empty where a partition has come to its end.

        Raises:
            BrokerUnavailable: nothing came for `silence` seconds, not counting the caller's own time.
            QueueError: the brokers refuse.
        """
        while self.open:
            self._has_heard = False
            until = time.monotonic() + self._silence
            while not (batch := self.take(TICK)) and not self._has_heard:
                if time.monotonic() > until:
                    silence = f"nothing came for {self._silence:g} s"
                    raise refusal(self._topic, self._brokers, KafkaError(KafkaError._TIMED_OUT, silence))
            yield batch

    def take(self, wait: float) -> list[KafkaMessage]:
        """The records that come within some seconds; none where nothing did.

        Raises:
            BrokerUnavailable, QueueError: as the client tells.
        """
        self._sought.clear()
        with translated(self._topic, self._brokers):
            message = self._consumer.poll(wait)
            # One `consume` alone would wait its whole time for a batch to be full.
            batch = [] if message is None else [message, *self._consumer.consume(BATCH, 0)]
        found: list[KafkaMessage] = []
        for one in batch:
            self._sort(one, found)
        return found

    def leave(self, place: PartitionId) -> None:
        """Nothing more is wanted of this partition."""
        if place in self.open:
            self.open.remove(place)
            self._consumer.incremental_unassign([TopicPartition(*place)])

    def pause(self, place: PartitionId) -> None:
        """Fetch no more of this partition for now."""
        self._consumer.pause([TopicPartition(*place)])

    def resume(self, place: PartitionId) -> None:
        """Fetch on."""
        self._consumer.resume([TopicPartition(*place)])

    def positions(self) -> dict[PartitionId, Position]:
        """How far each partition was read."""
        return {place: Position(one.offset, _last(one.record)) for place, one in self._of.items()}

    def close(self) -> None:
        """Fetch nothing more."""
        self.open.clear()
        with suppress(KafkaException):  # nothing is lost by it
            self._consumer.unassign()

    # one message ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _sort(self, message: KafkaMessage, found: list[KafkaMessage]) -> None:
        error, place = message.error(), (message.topic() or "", message.partition() or 0)
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if is_fatal(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise refusal(place[0] or self._topic, self._brokers, error)
            return  # told about brokers that are away; silence decides
        if place not in self.open or place in self._sought:
            return
        self._has_heard = True
        one = self._of[place]
        if error is None and one.probe is not None and _last(message) == one.probe:
            one.probe = None
            self._move(place, one, message)
        elif one.probe is not None or (message.offset() or 0) < one.offset:
            self._meet_shorter(place, one, message, found)
        elif error is None:
            self._give(place, one, message, found)
        else:
            one.offset = message.offset() or 0
            self.leave(place)

    def _give(self, place: PartitionId, one: _Progress, message: KafkaMessage, found: list[KafkaMessage]) -> None:
        if (message.offset() or 0) < one.end:
            found.append(message)
            self._move(place, one, message)
        else:
            # Written since: the next reading has it. What was to be read ended with markers.
            one.offset = one.end
            self.leave(place)

    def _move(self, place: PartitionId, one: _Progress, message: KafkaMessage) -> None:
        one.record, one.offset = message, (message.offset() or 0) + 1
        if one.offset >= one.end:
            self.leave(place)

    def _meet_shorter(
        self, place: PartitionId, one: _Progress, message: KafkaMessage, found: list[KafkaMessage]
    ) -> None:
        """Another record stands where one was read, or the log ends there."""
        offset = message.offset() or 0
        read_to = one.offset if one.probe is None else one.probe.offset + 1
        tell_shorter(place, read_to=read_to, cut_off_at=offset)
        one.probe = one.record = None
        if self._forget is not None:
            self._forget(place)
            one.offset = 0
            found[:] = [other for other in found if (other.topic(), other.partition()) != place]
            self._sought.add(place)
            with translated(place[0], self._brokers):
                self._consumer.seek(TopicPartition(*place, OFFSET_BEGINNING))
        elif message.error() is None:
            self._give(place, one, message, found)
        else:
            one.offset = offset
            self.leave(place)


@contextmanager
def translated(topic: str, brokers: str) -> Iterator[None]:
    """Raise errors of the client as ours."""
    try:
        yield
    except KafkaException as error:
        raise refusal(topic, brokers, error.args[0]) from error


def refusal(topic: str, brokers: str, error: KafkaError) -> QueueError:
    """What an error of the client means to whoever reads."""
    is_refused = is_fatal(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    kind = QueueError if is_refused else BrokerUnavailable
    return kind(f"The topic {topic} of the brokers {brokers} can't be read: {error.str()}")


def tell_shorter(place: PartitionId, *, read_to: int, cut_off_at: int) -> None:
    """Say that a log is another one from here on at least than the one that was read."""
    log.warning(
        "a log has become shorter than what was read of it",
        extra={"partition": f"{place[0]}[{place[1]}]", "read_to": read_to, "cut_off_at": cut_off_at},
    )


def _last(message: KafkaMessage | None) -> Last | None:
    if message is None:
        return None
    return Last(message.offset() or 0, message.leader_epoch(), message.timestamp()[1])
