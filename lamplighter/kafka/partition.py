"""One assigned partition, and the deliveries that come from it."""

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from lamplighter.contracts import Headers
from lamplighter.kafka.tracker import Mark, Tracker

if TYPE_CHECKING:
    from confluent_kafka import Message

Chunk = list[Any]  # messages of one partition, the oldest last, so that taking one lets go of it


class Partition:
    """A partition from one assignment to its end; a new assignment makes a new one, so that nothing old can commit.

    Attributes:
        chunks: what is handed over and not begun; the polling thread appends, the main thread takes.
        lost: it is not ours any more: whatever is in hand of it is dropped, and commits nothing.
        at_end: it has been read to an end since it was assigned.
        held: the delivery that waits in its place to be run again; what lies behind it waits too.
        due: when that one may run, on the monotonic clock.
        parked: how many chunks the main thread has put aside because of it.
        waiting: the main thread's list of the partitions that hold a delivery.
        mark, marked: what is known of the job at the offset `marked`, for the commit's metadata.
        committed: position and mark as the broker has them.
    """

    __slots__ = (
        "at_end",
        "chunks",
        "committed",
        "connection",
        "due",
        "held",
        "is_paused",
        "lost",
        "mark",
        "marked",
        "number",
        "parked",
        "topic",
        "tracker",
        "waiting",
    )

    def __init__(self, connection: str, topic: str, number: int, *, offset: int, mark: Mark | None) -> None:
        self.connection = connection
        self.topic = topic
        self.number = number
        self.chunks: deque[Chunk] = deque()
        self.tracker = Tracker()
        self.lost = False
        self.at_end = False
        self.is_paused = False
        self.held: KafkaDelivery | None = None
        self.due = 0.0
        self.parked = 0
        self.waiting: list[Partition] = []
        self.mark = mark
        self.marked = offset
        self.committed: tuple[int, Mark | None] = (offset, mark)

    def to_commit(self) -> tuple[int, Mark | None] | None:
        """The offset that is to be committed, with the mark of the job that stands there; None without news."""
        position, mark, marked = self.tracker.position, self.mark, self.marked
        if position is None:
            position = marked
        news = position, (mark if marked == position else None)
        return None if news == self.committed or position < 0 else news

    def unfinished(self) -> int:
        """How many messages are handed over and not begun."""
        return sum(map(len, self.chunks))

    def first_of(self, chunk: Chunk) -> "KafkaDelivery":
        """Take the first message of a chunk; the one that a predecessor marked keeps its retries and its due time."""
        delivery = KafkaDelivery(self, chunk.pop())
        mark = self.mark
        if mark is not None and delivery.offset == self.marked and delivery.retries == 0:
            delivery.retries = mark.retries
            wait = mark.due - time.time()
            if wait > 0:
                self.hold(delivery, time.monotonic() + wait)
        return delivery

    def hold(self, delivery: "KafkaDelivery", due: float) -> None:
        """Let a delivery wait in its place."""
        self.due = due
        self.held = delivery
        self.waiting.append(self)

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class KafkaDelivery:
    """One Kafka message in the worker's hand."""

    __slots__ = ("_message", "_partition", "excused", "failure", "offset", "retries")

    def __init__(self, partition: Partition, message: "Message") -> None:
        self._partition = partition
        self._message = message
        self.offset: int = message.offset()  # type: ignore[assignment]  # None only before it is sent
        self.retries = 0
        self.excused = 0
        self.failure: BaseException | None = None

    @property
    def payload(self) -> bytes:
        """The message's value; empty for a tombstone."""
        return self._message.value() or b""

    @property
    def key(self) -> bytes | None:
        """The message's key."""
        return self._message.key()

    @property
    def headers(self) -> Headers:
        """The message's headers."""
        headers: Any = self._message.headers()
        return headers or ()

    @property
    def queue(self) -> str:
        """The topic."""
        return self._partition.topic

    @property
    def connection(self) -> str:
        """The connection's name."""
        return self._partition.connection

    @property
    def position(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self._partition}@{self.offset}"

    @property
    def timestamp_ms(self) -> int | None:
        """The broker's or the sender's time."""
        kind, timestamp = self._message.timestamp()
        return timestamp if kind else None

    def delete(self) -> None:
        """Done; the polling thread commits it with the prefix that it completes."""
        partition = self._partition
        if not partition.lost:
            partition.tracker.finish(self.offset)

    def release(self, delay: float, *, counted: bool = True) -> None:
        """Wait in its place; the partition waits, and the commit's metadata say how often and how long."""
        if counted:
            self.retries += 1
        else:
            self.excused += 1
        partition = self._partition
        if partition.lost:
            return
        partition.marked = self.offset
        partition.mark = Mark(self.retries, time.time() + delay)
        partition.hold(self, time.monotonic() + delay)

    def fail(self, error: BaseException) -> None:
        """Recorded as failed, and done."""
        self.delete()
