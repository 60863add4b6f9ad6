"""What is asked of the first connection of a failover: all that workers need, sizes and clearing."""

from collections.abc import Collection, Sequence
from queue import SimpleQueue
from typing import cast

from lamplighter.contracts import DriverDelivery, HasFurtherStart, Queue, Sizes, WorkQueue


class WorkedByFirst:
    """The part of a connection that its first one has; what that one lacks, the whole does."""

    def __init__(self, first: Queue) -> None:
        self.first = first

    @property
    def default_queue(self) -> str:
        """Its own."""
        return self.first.default_queue

    def sizes(self, queue: str) -> Sizes:
        """How many jobs it has."""
        return self.first.sizes(queue)

    def clear(self, queue: str) -> int:
        """Delete its jobs."""
        return self.first.clear(queue)

    def close(self, *, timeout: float) -> bool:
        """Let go of it, as its worker does at the end; the manager closes it and the others, too."""
        return self.first.close(timeout=timeout)

    # for workers, unless it lacks "work" ───────────────────────────────────────────────────────────────────────────

    @property
    def _worked(self) -> WorkQueue:
        return cast(WorkQueue, self.first)

    @property
    def served_by(self) -> int:
        """Who works it; 0 for nobody, or where it can't be worked."""
        return getattr(self.first, "served_by", 0)

    @served_by.setter
    def served_by(self, process: int) -> None:
        self._worked.served_by = process  # a slot says so of the connection that its worker works

    @property
    def deadlock_wait(self) -> float:
        """Seconds until a job that met a deadlock is run again."""
        return self._worked.deadlock_wait

    def open(
        self,
        names: Sequence[str],
        bell: SimpleQueue[object],
        has_further_start: HasFurtherStart | None = None,
        *,
        slots: int = 1,
    ) -> None:
        """Begin to fetch from it."""
        self._worked.open(names, bell, has_further_start, slots=slots)

    def pop(self, names: Sequence[str], wait: float) -> DriverDelivery | None:
        """Its next delivery, which bears its name."""
        return self._worked.pop(names, wait)

    def pause(self, names: Collection[str]) -> None:
        """Take nothing from these queues of it."""
        self._worked.pause(names)

    def serve(self, wait: float) -> None:
        """Take its acknowledgements."""
        self._worked.serve(wait)

    def is_exhausted(self) -> bool:
        """Whether all of it was popped."""
        return self._worked.is_exhausted()

    def polled_at(self) -> float:
        """When it was last alive."""
        return self._worked.polled_at()

    def stall(self, *, is_busy: bool) -> str | None:
        """What stands still there."""
        return self._worked.stall(is_busy=is_busy)

    def read_claim(self, delivery: DriverDelivery) -> bytes:
        """A payload that it keeps elsewhere."""
        return self._worked.read_claim(delivery)
