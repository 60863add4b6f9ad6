"""What has been handed over of a partition, in the order of its log."""

from collections.abc import Sequence
from typing import Any

NONE = -1


class Intake:
    """How far a partition was read; owned by the polling thread.

    Attributes:
        expected: the offset behind the last record that was handed over, and behind what is never delivered; -1 before
            the first.
        at_end: the partition was read to an end since it was assigned.
        has_read: a record was read, by this owner or by one whose log this is.
        count, size: records that were handed over to run, and their bytes.
        latest_ms: when the last record was written, in milliseconds since 1970; -1 before the first.
    """

    __slots__ = ("_epochs", "_is_cut", "at_end", "count", "expected", "has_read", "latest_ms", "size")

    def __init__(self) -> None:
        self.expected = NONE
        self.at_end = False
        self.count = 0
        self.size = 0
        self._epochs: list[tuple[int, int]] = []  # from which offset on which leader epoch (KIP-101) was read
        self.latest_ms: int = NONE
        self.has_read = False
        self._is_cut = False  # it is known to have ended before `expected`, however long it is by now

    @property
    def has_begun(self) -> bool:
        """Whether anything was handed over, or the end was read."""
        return self.expected >= 0

    @property
    def epoch(self) -> int:
        """The leader epoch of the last record, for commits; -1 where the brokers tell none."""
        return self._epochs[-1][1] if self._epochs else NONE

    def epoch_before(self, offset: int) -> int:
        """The leader epoch of the last record before an offset, as far as it was read; -1 if not."""
        return next((epoch for since, epoch in reversed(self._epochs) if since < offset), NONE)

    def move(self, messages: Sequence[Any]) -> None:
        """These were read, up to the last of them."""
        last = messages[-1]
        self.expected = last.offset() + 1
        self.latest_ms = last.timestamp()[1]
        self.has_read = True
        if last.leader_epoch() in (None, self.epoch):
            return
        for message in messages:
            epoch = message.leader_epoch()
            if epoch != self.epoch:
                self._epochs.append((message.offset(), epoch))

    def move_to(self, offset: int) -> None:
        """Nothing is left before this offset."""
        self.expected = max(self.expected, offset)

    def go_on_where_cut(self, first: Any, *, committed: int, epoch: int, read_ms: int) -> bool:
        """Pass over what is finished of a log that lost its end before this owner has read anything; whether it did.

        Nobody asks for records before the committed offset. So where the first one stands there, the log ended before
        it. What is there was finished, unless it is newer: of a later leader, or written after all that was read.
        Without a leader epoch or a time nobody can say that.

        Args:
            epoch, read_ms: those of the last record that an earlier owner has read; -1 where it has not told them.
        """
        found = first.leader_epoch()
        if self.has_read or not 0 <= first.offset() < committed or found is None or found > epoch or read_ms < 0:
            return False
        self.expected = max(self.expected, committed)
        self.latest_ms = read_ms
        self._epochs = [(committed, epoch)]
        self.has_read = self._is_cut = True
        return True

    def rewritten_from(self, messages: Sequence[Any], *, end: int) -> int:
        """Where the log was cut off and written anew, as these records show, which begin before `expected`; -1 if not.

        Each leader of a partition writes under another epoch. So a record is a new one that stands where a record of
        another epoch was handed over before. Restored brokers may count the same epochs once more: where the `end` of
        the log, -1 if it is not known, lies before `expected`, a record that was written later than all others is new,
        too. Where the brokers tell no epochs, nobody can say where such a log was cut off, and all of it counts as new.
        """
        is_short = self._is_cut or 0 <= end < self.expected
        for message in messages:
            offset, epoch = message.offset(), message.leader_epoch()
            if offset >= self.expected:
                break
            if epoch is None or not self._epochs:
                # Where nothing was read, the client has come to an end that is none any more.
                return offset if is_short or not self.has_read else NONE
            if self._is_other_epoch(offset, epoch) or (is_short and message.timestamp()[1] > self.latest_ms):
                return int(offset)
        return NONE

    def _is_other_epoch(self, offset: int, epoch: int) -> bool:
        for since, known in reversed(self._epochs):
            if offset >= since:
                return epoch != known
        return epoch > self._epochs[0][1]  # an earlier owner has read it
