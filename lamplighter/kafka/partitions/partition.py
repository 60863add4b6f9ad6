"""One assigned partition: what of it waits, what the next owner has to know, what a commit says."""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lamplighter.kafka.partitions.offset_map import Handover, Mark, fits
from lamplighter.kafka.partitions.tracker import Tracker

if TYPE_CHECKING:
    from lamplighter.kafka.scheduling.delivery import KafkaDelivery
    from lamplighter.kafka.scheduling.scheduler import Lanes

Chunk = list[Any]  # messages of one partition, the oldest last, so that taking one lets go of it
Ordering = Literal["none", "key", "partition"]

WHOLE = object()  # the lane of every message where the partition is kept in order as a whole
LEAST_REACH, MOST_REACH = 32, 5_000  # offsets beyond what is begun that a commit announces
MOST_AHEAD = 20_000  # finished beyond the prefix; every commit has to go through them
MOST_KEPT = 1_000  # in hand beside each other, until it is counted whether the metadata have room for them
MOST_HELD = 1_000  # deliveries that wait behind others of their lanes, and their bytes
MOST_HELD_BYTES = 8 * 1024 * 1024


class Waiting(deque["KafkaDelivery"]):
    """What waits in a lane, behind those of it that are in hand or are to be tried again: the `holders`."""

    holders = 0


@dataclass(frozen=True, slots=True)
class News:
    """One partition's part of a commit; the broker knows it when that is acknowledged."""

    position: int
    text: str
    reach: int
    version: int


class Partition:
    """A partition from one assignment to its end; a new assignment makes a new one, so that nothing old can commit.

    The polling thread appends chunks and commits; the thread that pops does all the rest.

    Attributes:
        chunks: what is handed over and not begun; `buffered_bytes` is the size of it.
        current: the chunk that is being begun, one after the other.
        lost: it is not ours any more: whatever is in hand of it is dropped, and commits nothing.
        at_end: it has been read to an end since it was assigned.
        expected: the offset behind the last message that was handed over, and behind what is never delivered.
        floor: the offset up to which all was finished when nothing was in hand.
        begun: the offset behind the last one that may have been begun.
        blocked: by lane, what waits behind a job of that lane; `held` is how many these are, `held_bytes` their size.
        kept: how many are in hand while others are popped.
        waits_for: a job that met a service which was away; nothing new begins before it.
        ready: what waited behind another, and may run now.
        parked: how many chunks are put aside, since nothing new may begin.
        is_closed: nothing new may begin until something is settled.
        stoppers: what has blocked its lane for too long, where the settings ask for a standstill until it has ended.
        is_plain: nothing waits, is kept or is marked, so that settling is only finishing.
        marks: by offset, what the next owner has to know of an unfinished job.
        suspects: what an owner has died with that had announced it, as far as it was not taken up again.
        careful_until: the offset up to which an unclean predecessor may have come.
        reach: no job at this offset or beyond may begin before a further commit is acknowledged.
        margin: how far beyond `begun` the last commit has set the reach.
        version, acked: what was to be told by a commit, and what the broker has been told, as counts.
        wants_commit: something waits for a commit.
    """

    __slots__ = (
        "acked",
        "announced",
        "at_end",
        "begun",
        "blocked",
        "buffered_bytes",
        "careful_until",
        "chunks",
        "committed",
        "connection",
        "current",
        "expected",
        "floor",
        "held",
        "held_bytes",
        "is_closed",
        "is_paused",
        "is_plain",
        "kept",
        "lanes",
        "lost",
        "margin",
        "marks",
        "number",
        "ordering",
        "parked",
        "position",
        "reach",
        "ready",
        "stoppers",
        "suspects",
        "topic",
        "tracker",
        "version",
        "waits_for",
        "wants_commit",
    )

    def __init__(
        self, connection: str, topic: str, number: int, *, offset: int, metadata: str | None, ordering: Ordering
    ) -> None:
        handover = Handover.decode(metadata, offset) or Handover()
        self.connection = connection
        self.topic = topic
        self.number = number
        self.ordering = ordering
        self.chunks: deque[Chunk] = deque()
        self.current: Chunk = []
        self.buffered_bytes = 0
        self.tracker = Tracker(handover)
        self.lanes: Lanes = None  # type: ignore[assignment]  # given with the first chunk
        self.lost = False
        self.at_end = False
        self.is_paused = False
        self.is_closed = False
        self.stoppers: set[KafkaDelivery] = set()
        self.expected = self.floor = -1
        self.position = self.begun = self.announced = offset
        self.blocked: dict[Hashable, Waiting] = {}
        self.kept = 0
        self.held = 0
        self.held_bytes = 0
        self.waits_for: KafkaDelivery | None = None
        self.ready: deque[KafkaDelivery] = deque()
        self.parked = 0
        # What was in hand to the last is in nobody's any more.
        self.marks: dict[int, Mark] = {
            offset: Mark(mark.retries, mark.due, has_crashed=mark.in_hand or mark.has_crashed)
            for offset, mark in handover.marks.items()
            if not self.tracker.is_known(offset)  # it was finished while they were written
        }
        self.suspects = {offset for offset, mark in self.marks.items() if mark.has_crashed}
        self.careful_until = -1 if handover.is_clean else handover.reach
        self.is_plain = not self.marks and self.careful_until < 0
        self.reach = -1
        self.margin = LEAST_REACH
        self.version = self.acked = 0
        self.wants_commit = False
        self.committed = (offset, metadata or "")

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"

    # the polling thread ────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, messages: Chunk) -> Chunk:
        """Take over messages in their order; those that are to be run, the oldest last."""
        offsets = [message.offset() for message in messages]
        if offsets[0] < self.expected:
            # Fetched once more, as after a rebalance: they are here already.
            messages = [message for message in messages if message.offset() >= self.expected]
            offsets = offsets[len(offsets) - len(messages) :]
            if not messages:
                return []
        if self.expected < 0 and not 0 <= self.position <= offsets[0]:
            # A new group, or a log that is shorter than it was: what was committed speaks of other records.
            self.position = self.begun = self.announced = offsets[0]
            self.tracker.known_until = -1
            self.marks.clear()
            self.suspects.clear()
        if self.marks:
            self._forget_gone(offsets, until=offsets[-1])
        self.expected = offsets[-1] + 1
        tracker = self.tracker
        tracker.deliver(offsets)
        if offsets[0] < tracker.known_until:
            messages = [message for message in messages if not tracker.is_known(message.offset())]
        messages.reverse()
        self.buffered_bytes += sum(map(len, messages))
        if self.reach < 0:
            self.wants_commit = True
        return messages

    def read_to(self, offset: int) -> None:
        """It was read to an end: what is left up to there is never delivered, as the markers of transactions."""
        if self.expected >= 0:
            self._forget_gone((), until=offset)
            self.expected = max(self.expected, offset)
        elif (offset > max(self.position, 0) or self.careful_until >= 0) and not self.marks:
            # What is not written yet, an owner that is gone can't have begun.
            self.careful_until = -1
            self.settle_down()
            self.begin_at(offset)

    def begin_at(self, offset: int) -> None:
        """Have it committed where this owner begins, though nothing has come: the next owner's end is a later one."""
        self.position = self.begun = self.announced = self.expected = offset
        self.wants_commit = True

    def buffered(self) -> int:
        """How many messages are handed over and not begun."""
        return sum(map(len, self.chunks))

    def news(self, *, is_last: bool = False) -> News | None:
        """What a commit has to say; None without news. `is_last` is the word of an owner that leaves in order.

        It hands on what it has not finished of the window of one that did not.
        """
        version, tracker = self.version, self.tracker
        if tracker.first_open < 0:
            self.floor = self.expected
        position, frontier, unfinished = tracker.beyond() if tracker.ahead else (tracker.position, 0, ())
        position = max(self.position if position is None else position, self.floor)
        if position < 0 or self.expected < 0:
            return None  # nothing of it has come to this owner
        reach = max(self.begun, self.careful_until) if is_last else self._announced_reach()
        is_clean = is_last and not 0 <= tracker.first_open < self.careful_until
        marks = self._marks_from(position, is_last=is_last)
        text = Handover(reach, is_clean, frontier, unfinished, marks).encode(position)
        # What an earlier owner has announced in the very same words was not announced by this one.
        if (position, text) == self.committed and self.acked >= version and self.reach >= reach:
            return None
        return News(position, text, reach, version)

    def acknowledge(self, news: News) -> None:
        """The broker has it."""
        self.committed = (news.position, news.text)
        self.position = news.position
        self.reach = max(self.reach, news.reach)
        self.acked = news.version

    def _announced_reach(self) -> int:
        """How far jobs may begin before the next commit: twice as far as they came since the last one."""
        if self.reach >= self.begun + self.margin // 2:
            return self.reach
        came = 2 * (self.begun - self.announced)
        self.margin = min(MOST_REACH, max(LEAST_REACH, came))
        self.announced = self.begun
        return max(self.begun + self.margin, self.careful_until)

    def _marks_from(self, position: int, *, is_last: bool) -> dict[int, Mark]:
        # The thread that pops finishes first, and forgets the mark after it.
        marks = {o: m for o, m in dict(self.marks).items() if o >= position}
        if is_last:
            # A job that is still in hand is no victim of a crash: the start does not count.
            marks = {o: Mark(m.retries - 1, has_crashed=m.has_crashed) if m.in_hand else m for o, m in marks.items()}
            marks = {o: m for o, m in marks.items() if m.retries or m.due}
        return marks

    def _forget_gone(self, offsets: Sequence[int], *, until: int) -> None:
        """Retention may have deleted what an earlier owner has left to be tried again."""
        there = set(offsets)
        for offset in [o for o in list(self.marks) if self.expected <= o < until and o not in there]:
            del self.marks[offset]
            self.suspects.discard(offset)

    # the thread that pops ──────────────────────────────────────────────────────────────────────────────────────────

    def lane_of(self, message: Any) -> Hashable:
        """What a message must be kept in order with; None where there is nothing."""
        if self.ordering == "key":
            key: Hashable = message.key()
            return key
        return WHOLE if self.ordering == "partition" else None

    def may_take(self) -> bool:
        """Whether something new may begin, as far as memory, order and the metadata's room go."""
        if self.stoppers or self.waits_for is not None or WHOLE in self.blocked:
            return False
        if self.held >= MOST_HELD or self.held_bytes >= MOST_HELD_BYTES:
            return False
        ahead = self.tracker.ahead
        if not ahead and not self.marks and self.kept < MOST_KEPT:
            return True
        if ahead >= MOST_AHEAD:
            return False
        position = self.tracker.position
        span = self.begun - (self.position if position is None else position)
        return fits(self.tracker.left - self.buffered() - len(self.current), span, len(self.marks))

    def tell(self) -> int:
        """Have the next commit carry what is marked now; the version that the broker then has."""
        self.version += 1
        self.wants_commit = True
        return self.version

    def settle_down(self) -> None:
        """Find out whether settling is only finishing again."""
        is_odd = self.kept or self.blocked or self.marks or self.ready or self.waits_for
        self.is_plain = not is_odd and self.careful_until < 0
