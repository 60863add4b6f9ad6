"""What is known of unfinished jobs beyond their records: starts, due times, and who may have killed an owner."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap

NO_WINDOW = -1


class Marks:
    """The marks of one partition, by offset, and its careful window.

    An earlier owner has left them in the metadata of its commits, and this one leaves them to the next. The polling
    thread makes them and hands them over with the first records; then the thread that pops owns them, and the polling
    thread only takes snapshots.

    Attributes:
        suspects: marked jobs that an owner has died with, as far as they were not taken up again.
        careful_until: the end of the careful window: an owner that died may have begun what lies before it; -1 where
            there is none.
    """

    __slots__ = ("_by_offset", "careful_until", "suspects")

    def __init__(self, left: OffsetMap, is_known: Callable[[int], bool]) -> None:
        # The owner that wrote them is gone: nobody has these jobs in hand any more, and it may have died of them.
        self._by_offset = {
            offset: replace(mark, in_hand=False, has_crashed=mark.in_hand or mark.has_crashed)
            for offset, mark in left.marks.items()
            if not is_known(offset)  # it was finished while they were written
        }
        self.suspects = {offset for offset, mark in self._by_offset.items() if mark.has_crashed}
        self.careful_until = NO_WINDOW if left.is_clean else left.reach

    def __len__(self) -> int:
        return len(self._by_offset)

    def __contains__(self, offset: int) -> bool:
        return offset in self._by_offset

    def __getitem__(self, offset: int) -> Mark:
        return self._by_offset[offset]

    def put(self, offset: int, mark: Mark) -> None:
        """Know this of a job from now on."""
        self._by_offset[offset] = mark

    def pop(self, offset: int) -> Mark | None:
        """Forget a job, which is finished; what was known of it."""
        return self._by_offset.pop(offset, None)

    def take_suspect(self, offset: int) -> bool:
        """Whether an owner may have died of the job that is taken up now; then it is no longer among the suspects."""
        if self.careful_until <= offset and offset not in self.suspects:
            return False
        self.suspects.discard(offset)
        return True

    def end_window(self) -> None:
        """The careful window is worked off, or nothing can have been begun in it."""
        self.careful_until = NO_WINDOW

    def bound(self, end: int) -> None:
        """What stands at this offset and beyond was written later, if at all: an owner that is gone has begun none."""
        self.careful_until = min(self.careful_until, end)
        for offset in [offset for offset in self._by_offset if offset >= end]:
            del self._by_offset[offset]
            self.suspects.discard(offset)

    def forget_gone(self, there: Iterable[int], *, since: int, until: int) -> None:
        """Of the offsets from `since` up to `until` only these are there: retention may have deleted marked jobs."""
        kept = set(there)
        for offset in [o for o in self._by_offset if since <= o < until and o not in kept]:
            del self._by_offset[offset]
            self.suspects.discard(offset)

    def clear(self) -> None:
        """They are about a log that is no more."""
        self._by_offset.clear()
        self.suspects.clear()

    def snapshot(self, position: int, *, is_last: bool) -> dict[int, Mark]:
        """What a commit at `position` carries. Called by the polling thread while the other one goes on.

        That one finishes a job first and forgets its mark then, so that a snapshot has a mark too many at most, never
        one too few. An owner that leaves in order, and says its last word, has killed nobody: the start of a job that
        is still in hand does not count.
        """
        marks = {offset: mark for offset, mark in self._by_offset.copy().items() if offset >= position}
        if not is_last:
            return marks
        marks = {o: replace(m, retries=m.retries - 1, in_hand=False) if m.in_hand else m for o, m in marks.items()}
        return {o: mark for o, mark in marks.items() if mark.retries or mark.due or mark.failure is not None}
