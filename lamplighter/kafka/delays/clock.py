"""The brokers' time, learned from when they have appended records."""

import math
import time
from collections import deque
from collections.abc import Callable

WINDOW = 600.0  # seconds for which a learned time counts; clocks drift apart by 30 ms at most in so long
MOST = 64  # learned times that are kept
QUICK = 3.0  # seconds; a report that took longer is no reason not to ask anew: due times made from it are too late
TICK = 0.001  # seconds; brokers cut off what is less


class BrokerClock:
    """Tells the brokers' time: this host's monotonic clock plus an offset, which it learns from append times.

    Changes of the host's wall clock have no effect. A record was appended before its delivery report came, so the
    brokers' clock has reached its append time: `now` is never ahead of it, and behind it by a report's time at most.
    A record was appended after it was sent, so the brokers' clock had not passed its append time at that moment:
    `latest` is never behind it. Due times are made from `latest` and compared with `now`: two processes are behind by
    different times, and a due time that one of them made from its `now` would come early for the other.

    Until an append time is learned, and with topics that keep the sender's time, the offset is that of the host's wall
    clock when this clock was made. Safe to use from any thread.

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
        before = monotonic()
        said = wall()
        # A process may stand still between two looks at its clocks.
        self._offset, self._latest = said - monotonic(), said - before
        self._lessons: deque[tuple[float, float, float]] = deque(maxlen=MOST)
        self._quick_at = -math.inf  # when the last quick report came

    def now(self) -> float:
        """Seconds since 1970; the brokers have reached this time."""
        return self._monotonic() + self._offset + self.shift

    def latest(self) -> float:
        """Seconds since 1970; the brokers have not passed this time."""
        return self._monotonic() + max(self._offset, self._latest) + self.shift

    def moment(self) -> float:
        """When something is sent, for `learn`."""
        return self._monotonic()

    def is_fresh(self) -> bool:
        """Whether it has learned something from a quick report in the last minutes."""
        return self._monotonic() - self._quick_at < WINDOW

    def learn(self, appended: float, sent: float) -> None:
        """Learn from a delivery report that has just come.

        `appended` is when the broker appended the record, `sent` the `moment` at which it was sent.
        """
        now = self._monotonic()
        lesson = (now, appended - now, appended + TICK - sent)
        lessons = [lesson for lesson in (*self._lessons, lesson) if now - lesson[0] < WINDOW]
        self._lessons = deque(lessons, maxlen=MOST)
        if now - sent <= QUICK:
            self._quick_at = now
        # The quickest report is the most exact; a slow one reports an append time that is long past.
        self._offset = max(offset for _, offset, _ in lessons)
        self._latest = min(latest for _, _, latest in lessons)

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

    def learn(self, appended: float, sent: float) -> None:
        """Learn nothing: the embedded broker reports no time."""

    def notice(self, appended: float) -> None:
        """Learn nothing: the record carries the sender's time, which is this clock's."""
