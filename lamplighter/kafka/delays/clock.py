"""The brokers' time, learned from when they have appended records."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 600.0  # seconds for which a lesson counts; clocks drift apart by 30 ms at most in so long
MOST = 64  # lessons that are kept


class BrokerClock:
    """Tells the brokers' time: this host's monotonic clock, and an offset that the brokers' append times teach.

    Steps of the host's wall clock change nothing. A record was appended before its report came, so that each lesson is
    a time which the brokers have reached: the clock is never fast, and slow by the way of a report at most. Where
    nothing has been learned, as with brokers that keep the sender's time, the wall clock of the first moment stands in.
    Safe to use from any thread.

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
        """A record was appended at this time, and the report of it has just come."""
        now = self._monotonic()
        lessons = [lesson for lesson in (*self._lessons, (now, appended - now)) if now - lesson[0] < WINDOW]
        self._lessons = deque(lessons, maxlen=MOST)
        # The quickest report tells best; one that was long on its way tells of a time that is past.
        self._offset = max(offset for _, offset in lessons)

    def notice(self, appended: float) -> None:
        """A record of this append time was read, whenever: it can't be later than that."""
        ahead = appended - (self._monotonic() + self._offset)
        if ahead > 0:
            self._offset += ahead


class HostClock(BrokerClock):
    """The clock of a broker that is on this host and tells no time of its own, as the embedded one."""

    def is_fresh(self) -> bool:
        """It always is."""
        return True

    def learn(self, appended: float) -> None:
        """What the embedded broker says is a number, and no time."""

    def notice(self, appended: float) -> None:
        """The sender's time, which is this clock's."""
