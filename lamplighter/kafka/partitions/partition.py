"""One assigned partition: what was read, begun, finished, told; what a commit says of it, what the next owner gets."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from lamplighter.kafka.partitions.intake import Intake
from lamplighter.kafka.partitions.marks import Marks
from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.partitions.reach import Reach
from lamplighter.kafka.partitions.tracker import Tracker

Chunk = list[Any]  # records of one partition, the oldest last, so that taking one lets go of it


class Backlog(Protocol):
    """What others may read of the records that are handed over and not finished; the thread that pops owns them.

    Attributes:
        unbegun, unbegun_bytes: records that no job was begun of yet, and their size.
        in_hand: jobs that were begun and have not come to an end.
        held: jobs that wait behind others of their order key.
        is_closed: nothing new begins until something is settled, so that nothing more should be fetched.
    """

    @property
    def unbegun(self) -> int: ...
    @property
    def unbegun_bytes(self) -> int: ...
    @property
    def in_hand(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def is_closed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class News:
    """One partition's part of a commit; the broker knows it when that is acknowledged.

    The leader epoch is that of the last record which was read (KIP-320): by it the next owner's client notices that the
    log was cut off and written anew.
    """

    position: int
    text: str
    epoch: int
    reach: int
    version: int


class Partition:
    """A partition from one assignment to its end; a new assignment makes a new one, so that nothing old can commit.

    Its parts say which thread owns what. The polling thread: `intake`, all that is named below, and the front of
    `tracker`. The thread that pops: `marks`, `backlog`, the beginnings in `reach`, and the ends in `tracker`.

    Attributes:
        is_open: jobs of it may begin. It is not while the partition is being given away, nor after that.
        lost: it is not ours any more: what is in hand of it is dropped when it ends, and commits nothing.
        has_left: it is being given away, and no job of it is in hand any more; set by the thread that pops.
        is_paused: nothing more is fetched of it.
        position: the offset that the brokers have, or were asked for when the assignment began.
        committed: the last commit that they have: offset and metadata.
        version, acked: how often the thread that pops had something told, and how much of that the brokers have.
        wants_commit: something waits for a commit.
    """

    __slots__ = (
        "_floor",
        "_left_epoch",
        "_read_ms",
        "acked",
        "backlog",
        "committed",
        "connection",
        "has_left",
        "intake",
        "is_open",
        "is_paused",
        "lost",
        "marks",
        "number",
        "position",
        "reach",
        "topic",
        "tracker",
        "version",
        "wants_commit",
    )

    def __init__(
        self, connection: str, topic: str, number: int, *, offset: int, metadata: str | None, epoch: int = -1
    ) -> None:
        """Takes what was committed of it: an offset, its metadata, and its leader epoch, -1 where that is not told."""
        left = OffsetMap.decode(metadata, offset) or OffsetMap()
        self.connection = connection
        self.topic = topic
        self.number = number
        self.tracker = Tracker(left)
        self.reach = Reach(offset)
        self.marks = Marks(left, self.tracker.is_known)
        self.intake = Intake()
        self.backlog: Backlog | None = None  # made when something is handed over
        self.is_open = True
        self.lost = False
        self.has_left = False
        self.is_paused = False
        self.position = offset
        self.committed = (offset, metadata or "")
        self._floor = -1  # up to here all was finished when nothing was in hand
        self._left_epoch = epoch  # the latest one of the records that the metadata tell of
        self._read_ms = left.read_ms
        self.version = self.acked = 0
        self.wants_commit = False

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"

    # reading: the polling thread ───────────────────────────────────────────────────────────────────────────────────

    def receive(self, messages: list[Any]) -> Chunk:
        """Take over records in their order; those that are to run, the oldest last."""
        intake, tracker = self.intake, self.tracker
        offsets = [message.offset() for message in messages]
        if offsets[0] < intake.expected:
            # Fetched once more: they are here already.
            messages = [message for message in messages if message.offset() >= intake.expected]
            offsets = offsets[len(offsets) - len(messages) :]
            if not messages:
                return []
        if not intake.has_begun and not 0 <= self.position <= offsets[0]:
            # A new group, or a log that ends before the committed offset: what was committed is about other records.
            self._begin_at(offsets[0])
            tracker.forget_known()
            self.marks.clear()
        if self._left_epoch >= 0:
            self._forget_newer(messages)
        intake.move(messages)
        tracker.deliver(offsets)
        if offsets[0] < tracker.known_until:
            messages = [message for message in messages if not tracker.is_known(message.offset())]
        messages.reverse()
        intake.count += len(messages)
        intake.size += sum(map(len, messages))
        if self.reach.told < 0:
            self.wants_commit = True
        return messages

    def read_to(self, offset: int) -> None:
        """It was read to an end: what is left up to there is never delivered, as the markers of transactions."""
        marks = self.marks
        if self.intake.has_begun:
            self.intake.move_to(offset)
            return
        self.bound(offset)
        marks.forget_gone((), since=0, until=offset)
        if (offset > max(self.position, 0) or marks.careful_until >= 0) and not marks:
            # What is not written yet, an owner that is gone can't have begun.
            marks.end_window()
            self.begin_at(offset)

    def bound(self, end: int) -> None:
        """The log ends here: what an earlier owner has told beyond that, is about another log or about nothing.

        Without leader epochs nobody can say where the other log began.
        """
        self.marks.bound(end)
        if end < self.tracker.known_until:
            self.tracker.forget_known(end if self._left_epoch >= 0 else 0)

    def go_on_where_cut(self, first: Any) -> bool:
        """Have nothing run again of a log that lost its end before this owner has read anything; whether it did."""
        return self.intake.go_on_where_cut(
            first, committed=self.position, epoch=self._left_epoch, read_ms=self._read_ms
        )

    def _forget_newer(self, messages: list[Any]) -> None:
        """Records of a later leader than those that an earlier owner has told of are others: the log was cut off."""
        for message in messages if (messages[-1].leader_epoch() or 0) > self._left_epoch else ():
            if (message.leader_epoch() or 0) > self._left_epoch:
                self.bound(message.offset())
                self._left_epoch = -1
                return

    def begin_at(self, offset: int) -> None:
        """Have it committed where this owner begins, though nothing has come: the next owner's end is a later one."""
        self._begin_at(offset)
        self.intake.move_to(offset)
        self.committed = (-1, "")
        self.wants_commit = True

    def _begin_at(self, offset: int) -> None:
        self.position = offset
        self.reach = Reach(offset)

    # committing: the polling thread ────────────────────────────────────────────────────────────────────────────────

    def news(self, *, is_last: bool = False, pace: int = 0) -> News | None:
        """What a commit has to say; None without news. `is_last` is the word of an owner that leaves in order.

        It hands on what it has not finished of the careful window that it was given.
        """
        version, reach = self.version, self.reach
        position, left = self._told(is_last=is_last, pace=pace)
        if position < 0 or not self.intake.has_begun:
            return None  # nothing of it has come to this owner
        text = left.encode(position)
        # An earlier owner may have committed the very same text. Its reach was told of that owner, not of this one.
        if (position, text) == self.committed and self.acked >= version and reach.told >= left.reach:
            return None
        return News(position, text, max(self.intake.epoch, self._left_epoch), left.reach, version)

    def _told(self, *, is_last: bool, pace: int = 0) -> tuple[int, OffsetMap]:
        tracker, marks = self.tracker, self.marks
        if tracker.first_open < 0:
            self._floor = self.intake.expected
        expected = self.intake.expected
        has_more = tracker.ahead or tracker.known_until > expected
        position, frontier, unfinished = tracker.beyond(expected) if has_more else (tracker.position, 0, ())
        position = max(self.position if position is None else position, self._floor)
        reach = self.reach.begun if is_last else self.reach.announce(arrived=self.intake.expected, pace=pace)
        reach = max(reach, marks.careful_until)
        is_clean = is_last and not 0 <= tracker.first_open < marks.careful_until
        snapshot = marks.snapshot(position, is_last=is_last)
        if position != self.committed[0] and self.intake.latest_ms >= 0:
            self._read_ms = self.intake.latest_ms  # what is only read, and not finished, is no reason to commit
        return position, OffsetMap(reach, is_clean, frontier, unfinished, snapshot, self._read_ms)

    def acknowledge(self, news: News) -> None:
        """The brokers have it; they may have had a later one before its answer came."""
        if news.version < self.acked or news.position < self.position:
            return
        self.committed = (news.position, news.text)
        self.position = news.position
        self.reach.acknowledge(news.reach)
        self.acked = news.version

    def left_before(self, end: int) -> tuple[int, str, int]:
        """What the next owner is told where the log was cut off at the offset `end`: offset, metadata, leader epoch."""
        position, left = self._told(is_last=True)
        left = replace(
            left,
            reach=min(left.reach, end),
            frontier=min(left.frontier, end),
            unfinished=tuple(offset for offset in left.unfinished if offset < end),
            marks={offset: mark for offset, mark in left.marks.items() if offset < end},
        )
        position = min(position, end)
        return position, left.encode(position), max(self.intake.epoch_before(end), self._left_epoch)

    # telling: the thread that pops ─────────────────────────────────────────────────────────────────────────────────

    def tell(self) -> int:
        """Have the next commit carry what is marked now; the version that the broker then has."""
        self.version += 1
        self.wants_commit = True
        return self.version
