"""One partition of a delay topic, from one assignment to its end."""

from collections import deque
from collections.abc import Callable
from typing import Any

from lamplighter.kafka.delays.delayed_message import DelayedMessage, asks_for_time
from lamplighter.kafka.partitions.intake import Intake
from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.partitions.tracker import Tracker
from lamplighter.kafka.settings.native import TopicPartition
from lamplighter.kafka.topics.metadata import metadata_of

MOST_IN_HAND = 1_000  # records whose wait is over, and that are not acknowledged where they went


class DelayPartition:
    """Which records of a delay topic's partition were fetched, and which of them were moved on.

    Args:
        left: what its previous owner has committed.

    Attributes:
        held: fetched, in their order, and not due to be moved; each with the time at which it came.
        lost: the partition was taken away: nothing of it is committed any more.
        is_paused: nothing more is fetched of it.
        committed: the offset that the brokers know.
        in_hand: how many were taken, and are not acknowledged in their next topic.
        intake: how far it was read.
    """

    def __init__(
        self,
        topic: str,
        number: int,
        seconds: int,
        *,
        read: Callable[[Any], DelayedMessage],
        left: TopicPartition | None = None,
    ) -> None:
        self.topic = topic
        self.number = number
        self.seconds = seconds
        self.tracker = Tracker()
        self.intake = Intake()
        self.held: deque[tuple[Any, float]] = deque()
        self.lost = False
        self.is_paused = False
        self.committed: int | None = None
        self.in_hand = 0
        self._read = read
        self._head: DelayedMessage | None = None
        left = left or TopicPartition(topic, number)
        self._left_at = left.offset
        self._left_epoch = -1 if left.leader_epoch is None else left.leader_epoch
        self._read_ms = (OffsetMap.decode(metadata_of(left), left.offset) or OffsetMap()).read_ms

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"

    def receive(self, record: Any, now: float = float("inf")) -> None:
        """A record was fetched. One that only asks for the time is done with that."""
        self.intake.move([record])
        self.tracker.deliver([record.offset()])
        if asks_for_time(record):
            self.tracker.finish(record.offset())
        else:
            self.held.append((record, now))

    def is_moved(self, record: Any) -> bool:
        """Whether this owner or an earlier one has read a record: it comes again where the log has lost its end."""
        intake = self.intake
        intake.go_on_where_cut(record, committed=self._left_at, epoch=self._left_epoch, read_ms=self._read_ms)
        # A record is fetched twice only where the log was cut off, even if the log is as long as before by now.
        return record.offset() < intake.expected and intake.rewritten_from([record], end=0) < 0

    def next_at(self) -> float:
        """When the wait of the first record is over, by the brokers' clock."""
        if not self.held:
            return float("inf")
        record, came = self.held[0]
        if self._head is None:
            self._head = self._read(record)
        # It was written before it was fetched: a sender that claims a later time must not hold up the records behind.
        return min(min(self._head.since, came) + self.seconds, self._head.due)

    def take(self) -> tuple[int, DelayedMessage]:
        """Take the first record: its offset and its message. It is in hand until `done`."""
        record, _ = self.held.popleft()
        head, self._head = self._head or self._read(record), None
        self.in_hand += 1
        return record.offset(), head

    def done(self, offset: int) -> None:
        """The brokers have acknowledged the record of this offset in its next topic."""
        self.in_hand -= 1
        self.tracker.finish(offset)

    def first_open(self) -> int:
        """The offset of the first record that is not moved; behind the last one where all are."""
        first = self.tracker.first_open
        return first if first >= 0 else self.intake.expected

    def news(self) -> int | None:
        """The offset to commit; None where the brokers know it."""
        position = self.tracker.position
        return None if self.lost or position == self.committed else position

    def commit_of(self, position: int, *, is_bare: bool = False) -> TopicPartition:
        """A commit at this offset; without metadata where the brokers refuse them."""
        return self._commit(position, max(self.intake.epoch, self._left_epoch), is_bare=is_bare)

    def left_before(self, end: int) -> TopicPartition:
        """What is done where the log was cut off at the offset `end`: a commit from which another begins."""
        end = min(end, self.first_open())
        return self._commit(end, max(self.intake.epoch_before(end), self._left_epoch))

    def _commit(self, position: int, epoch: int, *, is_bare: bool = False) -> TopicPartition:
        read_ms = self.intake.latest_ms if self.intake.has_read else self._read_ms
        text = "" if is_bare else OffsetMap(position, read_ms=read_ms).encode(position)
        return TopicPartition(self.topic, self.number, position, text, epoch)
