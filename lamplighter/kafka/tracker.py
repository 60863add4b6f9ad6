"""What of one assigned partition is delivered, finished, and may be committed."""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


class Tracker:
    """The finished prefix of a partition, in delivered order: offsets have gaps, so they are never counted.

    The polling thread calls `deliver`, the worker `finish`; each only touches its own end of the deque.

    Attributes:
        position: the offset to commit; what lies before it is finished. None until something is.
    """

    __slots__ = ("_finished", "_open", "position")

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._finished: set[int] = set()
        self.position: int | None = None

    def deliver(self, offsets: Iterable[int]) -> None:
        """These were handed over, in this order, behind all that was before."""
        self._open.extend(offsets)

    def finish(self, offset: int) -> None:
        """This one is done, failed or passed on; finished work beyond an open one is remembered."""
        opened = self._open
        if opened[0] != offset:
            self._finished.add(offset)
            return
        opened.popleft()
        finished = self._finished
        while finished and opened and opened[0] in finished:
            offset = opened.popleft()
            finished.remove(offset)
        # A message that a rebalance has fetched twice must not move the committed offset back.
        if self.position is None or offset >= self.position:
            self.position = offset + 1


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of the job at the committed offset, as the commit's metadata carries it.

    Attributes:
        retries: how often it was started.
        due: when it may run again, in seconds since 1970.
    """

    retries: int
    due: float

    def encode(self) -> str:
        """ASCII, since the broker's limit counts UTF-16 units and NUL is refused."""
        return json.dumps({"v": 1, "retries": self.retries, "due": round(self.due, 3)}, separators=(",", ":"))

    @classmethod
    def decode(cls, metadata: str | None) -> "Mark | None":
        """The mark of a commit's metadata; None where another client has written something else."""
        if not metadata:
            return None
        try:
            fields = json.loads(metadata)
            if fields["v"] != 1:
                return None
            return cls(retries=max(0, int(fields["retries"])), due=float(fields["due"]))
        except (ValueError, TypeError, KeyError):
            return None
