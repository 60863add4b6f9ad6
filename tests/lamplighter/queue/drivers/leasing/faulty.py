"""A store that can be away before or after a call has taken effect, and a clock that a test moves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lamplighter.contracts import Message, Sizes
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, Lease, Taken
from lamplighter.queue.drivers.memory import MemoryStore

Fault = Literal["before", "after"]


class Clock:
    """Stands for the module `time`; it goes on when it is told to, and when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time go on."""
        self.now += seconds


@dataclass(eq=False)
class FaultyStore:
    """One worker's way to the jobs of a MemoryStore.

    Attributes:
        faults: what becomes of the next calls: the server gets none of it, or its answer is lost.
        begun: every lease that the store has begun, in its order.
        ended: the ends that it has heard of while their leases held.
        given: the leases that the worker was given.
    """

    inner: MemoryStore
    faults: list[Fault] = field(default_factory=list)
    begun: list[Lease] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    given: list[Lease] = field(default_factory=list)
    look_every: float = 0.5
    keeps_headers: bool = True
    lacks: Mapping[str, str] = field(default_factory=dict)
    unheard: list[Lease] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seconds = self.inner.seconds

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Push, or be away."""
        fault = self._fault()
        self.inner.push(queue, messages, delay)
        self._lose(fault)

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take, or be away; what was begun without an answer is given out by the next call."""
        fault = self._fault()
        self.ended += [end for end in ended if self.holds(end.lease)]
        self.inner.take((), 0, ended)
        if not self.unheard:
            taken = self.inner.take(queues, most, ())
            self.unheard = list(taken.leases)
            self.begun += taken.leases
        else:
            taken = Taken(())
        self._lose(fault)
        self.inner.renew(self.unheard)
        leases = [lease for lease in self.unheard if self.holds(lease)]
        self.unheard = []
        self.given += leases
        return Taken(leases, taken.next_due)

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Renew, or be away."""
        fault = self._fault()
        lost = self.inner.renew(leases)
        self._lose(fault)
        return lost

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait."""
        return self.inner.wait(queues, seconds)

    def sizes(self, queue: str) -> Sizes:
        """Count."""
        return self.inner.sizes(queue)

    def clear(self, queue: str) -> int:
        """Clear."""
        return self.inner.clear(queue)

    def close(self) -> None:
        """Nothing to let go of."""

    def holds(self, lease: Lease) -> bool:
        """Whether a lease has not ended; one that has run out lasts until somebody looks for jobs."""
        return self.inner._find(lease)[0] is not None

    def _fault(self) -> Fault | None:
        fault = self.faults.pop(0) if self.faults else None
        if fault == "before":
            raise Unavailable("the store is away")
        return fault

    def _lose(self, fault: Fault | None) -> None:
        if fault == "after":
            raise Unavailable("the answer is lost")
