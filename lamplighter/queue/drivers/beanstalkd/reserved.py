"""What is known of a job that is reserved here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lamplighter.queue.drivers.beanstalkd.client import Stats
from lamplighter.queue.drivers.beanstalkd.connection import Connection
from lamplighter.queue.drivers.leasing.lost import LostAnswers
from lamplighter.queue.drivers.leasing.store import Lease

MOST_EXPECTED = 16


@dataclass(slots=True, eq=False)
class Reserved:
    """The handle of a lease.

    Attributes:
        connection: the one that reserved it; the reservation ends with it.
        priority, ttr: as its producer has put it.
        until: when the reservation may have run out, on the monotonic clock.
        is_copied: what is left of its end is to delete it.
        is_left: the server hears nothing of its end.
    """

    number: int
    connection: Connection
    priority: int
    ttr: int
    until: float
    is_copied: bool = False
    is_left: bool = False

    def is_held(self) -> bool:
        """Whether nobody else can have it."""
        return self.connection.is_open and time.monotonic() < self.until


class Numbers:
    """The numbers of the jobs that came last, as far as they rise one by one."""

    def __init__(self) -> None:
        self._last = 0
        self._is_steady = False

    def expected(self, count: int) -> list[int]:
        """Those that come next, if all goes on as it did."""
        return list(range(self._last + 1, self._last + 1 + min(count, MOST_EXPECTED))) if self._is_steady else []

    def note(self, numbers: Sequence[int]) -> None:
        """These came."""
        if numbers:
            self._is_steady = all(after == before + 1 for before, after in pairwise([self._last, *numbers]))
            self._last = numbers[-1]


def lease_of(
    number: int, payload: bytes, stats: Stats, connection: Connection, asked: float, lost: LostAnswers
) -> Lease:
    """The lease of a job that was reserved now; `asked` is the time on the monotonic clock."""
    starts = stats.number("reserves") - 1
    untold = starts - stats.number("releases") - stats.number("buries")
    if untold > 0:
        uncounted = lost.take_back()
        starts -= uncounted
        untold -= uncounted
    ttr = stats.number("ttr")
    return Lease(
        queue=stats["tube"],
        payload=payload,
        handle=Reserved(number, connection, stats.number("pri"), ttr, asked + ttr),
        retries=starts,
        mark=f"{number}.{connection.server}",
        timestamp_ms=int((time.time() - stats.number("age")) * 1000),
        # The first start of a copy is one of a job that may have died before: its payload does not say how it ended.
        has_crashed=untold > 0 if starts else None,
    )
