"""What of one assigned partition is delivered, finished, and may be committed."""

from collections import deque
from collections.abc import Sequence
from itertools import filterfalse, takewhile

from lamplighter.kafka.partitions.offset_map import OffsetMap


class Tracker:
    """The finished prefix of a partition, in delivered order: offsets have gaps, so they are never counted.

    The polling thread calls `deliver`, the worker `finish`; each only touches its own end of the deque.

    Attributes:
        position: the offset to commit; what lies before it is finished. None until something is.
        known_until: below this offset an earlier owner may have finished something beyond its prefix.
    """

    __slots__ = ("_finished", "_open", "_unfinished", "known_until", "position")

    def __init__(self, known: OffsetMap | None = None) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self._unfinished = frozenset(known.unfinished) if known else frozenset()
        self.known_until = known.frontier if known else -1
        self.position: int | None = None

    def deliver(self, offsets: Sequence[int]) -> None:
        """These were handed over, in this order, behind all that was before."""
        if offsets and offsets[0] < self.known_until:
            # Finished ones among them count when their turn comes; they must not be missing in the prefix.
            self._finished.update(filter(self.is_known, offsets))
        self._open.extend(offsets)

    def forget_known(self, since: int = 0) -> None:
        """What an earlier owner has finished at this offset and beyond, was in another log."""
        self.known_until = min(self.known_until, since) if since > 0 else -1

    def is_known(self, offset: int) -> bool:
        """Whether an earlier owner has finished this one."""
        return offset < self.known_until and offset not in self._unfinished

    def finish(self, offset: int) -> None:
        """This one is done, failed or passed on; finished work beyond an open one is remembered."""
        opened, finished = self._open, self._finished
        if opened[0] == offset:
            opened.popleft()
            self.position = offset + 1
            if not finished:
                return
        else:
            finished.add(offset)
        while opened and opened[0] in finished:
            offset = opened.popleft()
            finished.remove(offset)
            self.position = offset + 1

    def has_finished(self, offset: int) -> bool:
        """Whether this one, which was delivered, is finished."""
        return offset in self._finished or (self.position is not None and offset < self.position)

    @property
    def ahead(self) -> int:
        """How many are finished beyond the prefix."""
        return len(self._finished)

    @property
    def left(self) -> int:
        """How many are delivered and not finished."""
        return max(0, len(self._open) - len(self._finished))

    @property
    def first_open(self) -> int:
        """The offset that the commit waits for; -1 where nothing is open. Any thread may look."""
        try:
            return self._open[0]
        except IndexError:
            return -1

    def beyond(self, expected: int) -> tuple[int | None, int, tuple[int, ...]]:
        """The position, a frontier, and the offsets below it that are not finished: all else there is.

        What an earlier owner has finished at `expected` and beyond, where nothing was delivered yet, is told on.
        """
        # A copy of one moment: what finishes from here on is told as unfinished, never the other way round.
        position, finished, opened = self.position, self._finished.copy(), tuple(self._open)
        # Where the job that an earlier owner has left is gone from the log, nobody finishes it to move the position.
        for offset in takewhile(finished.__contains__, opened):
            position = offset + 1
        frontier = max(finished, default=-1) + 1
        unfinished = filterfalse(finished.__contains__, opened)
        if self.known_until > expected:
            behind = sorted(offset for offset in self._unfinished if expected <= offset < self.known_until)
            return position, self.known_until, (*unfinished, *behind)
        return position, frontier, tuple(takewhile(lambda offset: offset < frontier, unfinished))
