"""One partition of a delay topic, from one assignment to its end."""

from collections import deque
from collections.abc import Callable
from typing import Any

from lamplighter.kafka.delays.waiting import Waiting, is_question
from lamplighter.kafka.partitions.intake import Intake
from lamplighter.kafka.partitions.tracker import Tracker

MOST_IN_HAND = 1_000  # records whose wait is over, and that are not acknowledged where they went


class DelayPartition:
    """What is fetched of a partition, and what of it has been moved.

    Attributes:
        held: fetched, in their order, and not due to be moved; each with the time at which it came.
        lost: it is not ours any more: nothing of it is committed.
        is_paused: nothing more is fetched of it.
        committed: the offset that the brokers know.
        in_hand: how many are on their way.
        intake: how far it was read.
    """

    def __init__(self, topic: str, number: int, seconds: int, *, read: Callable[[Any], Waiting]) -> None:
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
        self._head: Waiting | None = None

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"

    def receive(self, record: Any, now: float = float("inf")) -> None:
        """A record was fetched; those that only ask for the time are done with this."""
        self.intake.move([record])
        self.tracker.deliver([record.offset()])
        if is_question(record):
            self.tracker.finish(record.offset())
        else:
            self.held.append((record, now))

    def next_at(self) -> float:
        """When the wait of the first record is over, by the brokers' clock."""
        if not self.held:
            return float("inf")
        record, came = self.held[0]
        if self._head is None:
            self._head = self._read(record)
        # What is here was written before: one whose sender says otherwise must not hold up what stands behind it.
        return min(min(self._head.since, came) + self.seconds, self._head.due)

    def take(self) -> tuple[int, Waiting]:
        """The offset of the first record, and what it says; it is in hand until `done`."""
        record, _ = self.held.popleft()
        head, self._head = self._head or self._read(record), None
        self.in_hand += 1
        return record.offset(), head

    def done(self, offset: int) -> None:
        """It is acknowledged where it went."""
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
