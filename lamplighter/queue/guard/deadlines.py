"""The jobs in a worker's hand, each with its deadline; and the C timer behind them."""

import faulthandler
import sys
import threading
import time

from lamplighter.queue.worker.runner import Start
from lamplighter.support.forking import watch

DEAD_MAN = 5.0  # seconds after a deadline until a process whose threads can't run is ended
NEVER = float("inf")
LONGEST = 1e9  # seconds that the C timer can be set to; a deadline beyond them needs none


class Hand:
    """The jobs in the worker's hand, with their deadlines. Whoever takes one out settles it; there is no second.

    Attributes:
        limit: a deadline for whatever is in hand, on the monotonic clock.
        is_parents: this is a child that a job has forked; nothing is in its hand.
    """

    def __init__(self) -> None:
        self._held: dict[Start, float] = {}
        self._armed = -NEVER  # the deadline that the C timer is set for
        self._arming = threading.Lock()
        self.limit = NEVER
        self.is_parents = False
        watch(self, in_child=Hand._begin_as_child, locks=lambda hand: (hand._arming,))

    def put(self, start: Start, deadline: float) -> None:
        """Begin a job that must be done by `deadline` on the monotonic clock."""
        is_only = not self._held
        # Before the timer is looked at: see set_timer.
        self._held[start] = deadline
        # C code that holds the GIL stops the watching thread too; only a C timer can end the process then.
        # It is set anew once a second, not for each job.
        armed = self._armed
        if not armed - 1 <= deadline <= armed + 1 and (is_only or deadline < armed):
            self._arm(deadline)

    def take(self, start: Start) -> bool:
        """End a job; False when the watching thread has taken it, and is ending the process."""
        return self._held.pop(start, None) is not None

    def take_overdue(self, now: float) -> Start | None:
        """A job whose deadline has passed; it is the caller's then."""
        for start, deadline in list(self._held.items()):
            if now >= min(deadline, self.limit) and self.take(start):
                return start
        return None

    def __len__(self) -> int:
        return len(self._held)

    def is_empty(self) -> bool:
        """Whether no job is in hand."""
        return not self._held

    def set_timer(self) -> None:
        """Set the C timer to the job that is due first, and stop it while nothing is in hand."""
        first = min(list(self._held.values()), default=None)
        if first is None:
            with self._arming:
                if self._armed == -NEVER or self._held:
                    return
                self._armed = -NEVER
                faulthandler.cancel_dump_traceback_later()
        # A job that has come since the look found the timer still set, and left it as it was.
        first = min(list(self._held.values()), default=None)
        if first is not None and not self._armed - 1 <= first <= self._armed + 1:
            self._arm(first)

    def _begin_as_child(self) -> None:
        self._arming = threading.Lock()
        self._armed = -NEVER
        self._held = Nothing()
        self.is_parents = True

    def _arm(self, deadline: float) -> None:
        if self.is_parents:
            return  # its timer is not set in a child, where stopping it would wait for its thread for ever
        with self._arming:
            self._armed = deadline
            seconds = max(deadline + DEAD_MAN - time.monotonic(), 0.001)
            if seconds > LONGEST:
                faulthandler.cancel_dump_traceback_later()
                return
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)


class Nothing(dict[Start, float]):
    """What is in hand in a child that a job has forked, whatever is put into it."""

    def __setitem__(self, start: Start, deadline: float) -> None:
        """Nobody takes it out again, so that nobody settles it."""
