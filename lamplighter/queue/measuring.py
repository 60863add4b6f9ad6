"""What connections can tell about the jobs that they have, where they can."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many jobs of one queue are to be run: `pending` now, `delayed` later; `reserved` are in workers' hands.

    `oldest` is when the first pending one was pushed, in seconds since 1970; None where there is none, or nobody knows.
    What is delayed may be counted elsewhere, which is away: it is None then, and `unknown` says why. `notes` are
    sentences on what the numbers alone don't tell.
    """

    pending: int
    delayed: int | None
    reserved: int = 0
    oldest: float | None = None
    unknown: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that is held back until `due`, in seconds since 1970; the `id` is what `cancel` takes."""

    id: str
    job_id: str
    name: str
    queue: str
    due: float
    can_cancel: bool


@runtime_checkable
class Measured(Protocol):
    """A connection whose queues can be counted."""

    def sizes(self, queue: str) -> Sizes:
        """How many jobs a queue has.

        Raises:
            QueueError: there is no such queue, or it can't be asked.
        """
        ...


@runtime_checkable
class Holding(Protocol):
    """A connection that holds jobs back where they can be seen."""

    def held(self, *, most: int) -> list[HeldJob]:
        """The jobs that are due later, the earliest first."""
        ...

    def cancel(self, id: str) -> int:
        """Take back what was put under this id; how many jobs that were."""
        ...
