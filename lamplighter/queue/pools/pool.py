"""What a worker needs of the pool that runs its jobs beside each other."""

from collections.abc import Callable
from typing import Protocol

from lamplighter.queue.worker.runner import Start
from lamplighter.queue.worker.verdicts import Verdict

Outcome = BaseException | Verdict | None
Ended = Callable[[Start, Outcome], None]


class Pool(Protocol):
    """Runs starts beside each other; the worker never gives it more at a time than it has slots.

    Attributes:
        failure: why it can't go on; None while it can.
        is_ready: a job can begin in it at once.
        spare: seconds beyond its timeout in which the pool ends a job by itself.
    """

    failure: BaseException | None
    is_ready: bool
    spare: float

    def open(self, ended: Ended) -> None:
        """Begin. `ended` is called from any thread, once for each start: with the error of a job, or with None; a pool
        that has settled it already gives its verdict."""
        ...

    def submit(self, start: Start) -> None:
        """Run this one."""
        ...

    def overrun(self, start: Start) -> bool:
        """End a job that is overdue, and it alone; False where the whole process has to end for that."""
        ...

    def has_ended(self, start: Start) -> bool:
        """Whether its handler has come to its end, and its failure is all that is left."""
        ...

    def stack_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in."""
        ...

    def close(self) -> None:
        """Let go of the slots; nothing is in them, or nobody waits for it any more."""
        ...
