"""The jobs in a worker's hand, each with its deadline; and the C timer behind them."""

import threading
import time
from collections.abc import Callable
from typing import Generic, NoReturn, Protocol, TypeVar

from lamplighter.queue.guard.children import leave
from lamplighter.queue.guard.control import NEVER
from lamplighter.queue.guard.ending import DEAD_MAN
from lamplighter.queue.guard.timers import arm, disarm
from lamplighter.queue.jobs.retries import Policy
from lamplighter.support.forking import watch

LONGEST = 1e9  # seconds that the C timer can be set to; a deadline beyond them needs none


class Timed(Protocol):
    """A start, as far as its deadline goes."""

    began: float
    policy: Policy


T = TypeVar("T", bound=Timed)


class Hand(Generic[T]):
    """The jobs in the worker's hand, with their deadlines. Whoever takes one out settles it; there is no second.

    Attributes:
        failing: the one whose handler has ended, and whose failure is being recorded by the thread of the loop.
        is_parents: this is a child that a job has forked; nothing is in its hand.
    """

    def __init__(self) -> None:
        self._held: dict[T, float] = {}
        self._armed = -NEVER  # the deadline that the C timer is set for
        self._arming = threading.Lock()
        self.failing: T | None = None
        self.is_parents = False
        self._end_by = NEVER
        self._overdue: set[T] = set()  # those that somebody is about to end
        self._ran_at = NEVER  # when threads were last seen to run, as long as a job is overdue
        watch(self, in_child=Hand._begin_as_child, locks=lambda hand: (hand._arming,))

    def put(self, start: T, deadline: float) -> None:
        """Begin a job that must be done by `deadline` on the monotonic clock."""
        is_only = not self._held
        # Before the timer is looked at: see set_timer.
        self._held[start] = deadline
        # C code that holds the GIL stops the watching thread too; only a C timer can end the process then.
        # It is set anew once a second, not for each job.
        armed = self._armed
        if not armed - 1 <= deadline <= armed + 1 and (is_only or deadline < armed):
            self._arm(deadline)

    def take(self, start: T) -> bool:
        """End a job; False when the watching thread has taken it, and is ending the process."""
        return self._held.pop(start, None) is not None

    def take_overdue(self, now: float, *, limit: float = NEVER) -> T | None:
        """A job whose deadline has passed, or the `limit` for all of them; it is the caller's then.

        The C timer stays where it is until `go_on` tells that threads run: a signal to a job that keeps the GIL lets
        them run for a moment, and no longer.
        """
        for start, deadline in list(self._held.items()):
            if now >= min(deadline, limit) and self.take(start):
                if not self._overdue:
                    self._ran_at = now if self._armed == -NEVER else min(now, self._armed)
                self._overdue.add(start)
                self.set_timer()
                return start
        return None

    def go_on(self) -> None:
        """Threads run: where a job is overdue, the C timer ends the process when they have not for some seconds."""
        if self._overdue:
            self._ran_at = time.monotonic()
            self.set_timer()

    def let_go(self, start: T) -> None:
        """An overdue job has ended, or somebody else ends it, and the process goes on."""
        self._overdue.discard(start)
        self.set_timer()

    def busy_until(self, now: float, *, has_ended: Callable[[T], bool] = lambda start: False) -> float:
        """When the handlers in hand are to have ended, at the latest; `now` where all have."""
        held = [
            (start, deadline)
            for start, deadline in list(self._held.items())
            if start is not self.failing and not has_ended(start)
        ]
        return max([now, *(_handled_by(start, deadline, now) for start, deadline in held)])

    def __len__(self) -> int:
        return len(self._held)

    def is_empty(self) -> bool:
        """Whether no job is in hand."""
        return not self._held

    def end_by(self, deadline: float) -> None:
        """The process itself has a deadline now: the C timer is behind that one, too, whatever is in hand."""
        self._end_by = deadline
        self.set_timer()

    def set_timer(self) -> None:
        """Set the C timer to what is due first, and stop it while nothing is."""
        first = self._first()
        if first == NEVER and not self._held:
            with self._arming:
                if self._armed == -NEVER or self._held:
                    return
                self._armed = -NEVER
                disarm()
            # A job that has come since the look found the timer still set, and left it as it was.
            first = self._first()
        if (self._held or first != NEVER) and not self._armed - 1 <= first <= self._armed + 1:
            self._arm(first)

    def _first(self) -> float:
        return min(self._bound(), *self._held.values(), NEVER)

    def _bound(self) -> float:
        """What the C timer is behind, whatever is in hand."""
        return min(self._end_by, self._ran_at) if self._overdue else self._end_by

    def _begin_as_child(self) -> None:
        self._arming = threading.Lock()
        self._armed = -NEVER
        self._held = Nothing()
        self._overdue = set()
        self.is_parents = True

    def _arm(self, deadline: float) -> None:
        if self.is_parents:
            return  # its timer is not set in a child, where stopping it would wait for its thread for ever
        with self._arming:
            self._armed = deadline = min(deadline, self._bound())
            seconds = deadline + DEAD_MAN - time.monotonic()
            if seconds > LONGEST:
                disarm()
                return
            if not arm(seconds):
                self._armed = -NEVER  # tried again with the next job, and ten times a second


def _handled_by(start: Timed, deadline: float, now: float) -> float:
    timeout = start.policy.timeout
    if not timeout:
        return NEVER
    # A pool that looks after the time of its jobs itself gives no deadline, or one with time to spare for their end.
    return now + timeout if deadline == NEVER else min(deadline, start.began + timeout)


class Nothing(dict[T, float]):
    """What is in hand in a child that a job has forked, whatever is put into it."""

    def __setitem__(self, start: T, deadline: float) -> None:
        """Nobody takes it out again, so that nobody settles it."""


def never_return(hand: Hand[T], error: BaseException | None = None) -> NoReturn:
    """This job is another's to settle: of the watching thread, which is ending the process, or of the parent.

    `error` is what the job has raised; a child that a job has forked ends with it.
    """
    if hand.is_parents:
        leave(error)
    while True:
        time.sleep(3600)
