"""Jobs that are taken by waiting for them, as a long poll of SQS does."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from lamplighter.queue.drivers.leasing.store import JobStore, Lease

TURN = 1.0  # seconds that one wait for news takes at most, where it is no long poll
GAP = 1.0  # seconds between two pops of a worker that takes jobs; one that does not come again is not polled for
SPARE = 2.0  # seconds that the answer to a long poll may be late, when it is waited for at the end
NEVER = float("inf")


@runtime_checkable
class PollsLong(Protocol):
    """The part of a `JobStore` that begins a job as soon as it comes, without being asked again and again.

    Attributes:
        poll_for: seconds that one call of `poll` lasts at most; 0 where it is not to be called.
    """

    poll_for: float

    def poll(self, queue: str) -> Sequence[Lease]:
        """The next job of a queue, begun as `take` begins it; none after `poll_for` seconds.

        One thread calls this at a time, beside the one that calls `take`, which leaves this queue alone meanwhile.
        """
        ...


class Polling:
    """Waits for one worker, in a thread of its own: by long polls where the store has them, and there is one queue.

    A poll that is under way can't be called off: the store may give it a job that nobody would get.

    Args:
        adopt: is given the jobs that have begun, and when they were asked for, on the monotonic clock.
    """

    def __init__(self, store: JobStore, adopt: Callable[[Sequence[Lease], float], object]) -> None:
        self.awaited_until = 0.0  # on the monotonic clock: until then somebody pops what comes
        self._store = store
        self._polls = store if isinstance(store, PollsLong) and store.poll_for else None
        self._adopt = adopt
        self._is_over = False
        self._until = 0.0

    def wait(self, queues: Sequence[str]) -> bool:
        """Until a job may have come, or has begun; False where none did in time."""
        if self._polls is None or len(queues) != 1 or time.monotonic() > self.awaited_until:
            return self._store.wait(queues, TURN)
        # First: whoever ends this says so before it looks whether a poll is under way, so that one of both sees it.
        asked_at = time.monotonic()
        self._until = asked_at + self._polls.poll_for + SPARE
        try:
            if self._is_over:
                return False
            leases = self._polls.poll(queues[0])
            self._adopt(leases, asked_at)
            return bool(leases)
        finally:
            self._until = 0.0

    def end(self) -> None:
        """Begin no further poll."""
        self._is_over = True

    def left(self) -> float:
        """Seconds until the answer to the poll that is under way is there, at the latest; 0 without one."""
        until = self._until
        return max(0.0, until - time.monotonic()) if until else 0.0
