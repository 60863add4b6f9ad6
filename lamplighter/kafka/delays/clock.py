"""The brokers' time, learned from when they have appended records."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 600.0  # seconds for which a learned time counts; clocks drift apart by 30 ms at most in so long
MOST = 64  # learned times that are kept


class BrokerClock:
    """Tells the brokers' time: this host's monotonic clock plus an offset, which it learns from append times.

    Changes of the host's wall clock have no effect. A record was appended before its delivery report came, so the
    brokers' clock has reached its append time: this clock is never ahead of it, and behind it by no more than a report
    takes. Until an append time is learned, and with topics that keep the sender's time, the offset is that of the
    host's wall clock when this clock was made. Safe to use from any thread.

    Args:
        shift: seconds by which this clock is to be ahead, for tests that need days to pass.
        monotonic, wall: the host's clocks.
    """

    def __init__(
        self,
        shift: float = 0.0,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.shift = shift
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._lessons: deque[tuple[float, float]] = deque(maxlen=MOST)

    def now(self) -> float:
        """Seconds since 1970."""
        return self._monotonic() + self._offset + self.shift

    def is_fresh(self) -> bool:
        """Whether it has learned something in the last minutes."""
        lessons = self._lessons
        return bool(lessons) and self._monotonic() - lessons[-1][0] < WINDOW

    def learn(self, appended: float) -> None:
        """Learn from a delivery report that has just come: `appended` is when the broker appended the record."""
        now = self._monotonic()
        lessons = [lesson for lesson in (*self._lessons, (now, appended - now)) if now - lesson[0] < WINDOW]
        self._lessons = deque(lessons, maxlen=MOST)
        # The quickest report is the most exact; a slow one reports an append time that is long past.
        self._offset = max(offset for _, offset in lessons)

    def notice(self, appended: float) -> None:
        """A record with this append time was read: the brokers' time is at least that."""
        ahead = appended - (self._monotonic() + self._offset)
        if ahead > 0:
            self._offset += ahead


class HostClock(BrokerClock):
    """The clock of a broker that is on this host and tells no time of its own, as the embedded one."""

    def is_fresh(self) -> bool:
        """Always: it needs to learn nothing."""
        return True

    def learn(self, appended: float) -> None:
        """Learn nothing: the embedded broker reports no time."""

    def notice(self, appended: float) -> None:
        """Learn nothing: the record carries the sender's time, which is this clock's."""
