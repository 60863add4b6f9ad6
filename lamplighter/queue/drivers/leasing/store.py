"""What a driver with leases has to do with its store; the rest of a connection is `LeasingQueue`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from lamplighter.contracts import Headers, Message, Sizes

RETRY_AFTER = 90  # seconds that a lease lasts where config/queue.py does not say: Laravel's own


@dataclass(slots=True, eq=False)
class Lease:
    """A job that a store has given to one worker for a time, and that has begun: the store counts this start.

    Attributes:
        payload: as it was before this start.
        handle: what the store knows it by; the store may change it.
        retries: how often it was started before, beyond what its payload says.
        mark: what tells it from any other job of its queue for ever, such as a row's id; empty where nothing does.
        timestamp_ms: when it was pushed, in milliseconds since 1970; None where the store does not say.
        has_crashed: a start of it has ended without a word, as when its worker was killed. None where the store can't
            tell whether: it counts as one that has then. An end that does not count its start leaves this as it was.
        is_lost: the lease has run out, and others may have it.
    """

    queue: str
    payload: bytes
    handle: Any
    retries: int = 0
    mark: str = ""
    timestamp_ms: int | None = None
    key: bytes | None = None
    headers: Headers = ()
    has_crashed: bool | None = False
    is_lost: bool = False


class How(Enum):
    """What becomes of a job whose lease ends."""

    DELETED = "deleted"  # it is done
    RELEASED = "released"  # it runs again when its delay is over; the start counts
    EXCUSED = "excused"  # it runs again when its delay is over; the start does not count
    GIVEN_BACK = "given back"  # it was not run; the next one that is taken is this one, as if it had not been


UNCOUNTED = (How.EXCUSED, How.GIVEN_BACK)  # the job is to be as it was before this start


class Ended(NamedTuple):
    """The end of a lease. `delay` is seconds from now."""

    lease: Lease
    how: How
    delay: float = 0.0


class Taken(NamedTuple):
    """What a store has given out.

    Attributes:
        leases: the jobs that have begun, in their order.
        next_due: seconds until the store has another job, as far as it knows; None where it does not.
        kept: the ends, all EXCUSED, whose starts the store would count all the same: they have not ended, and the
            worker keeps those jobs until their delays are over.
    """

    leases: Sequence[Lease]
    next_due: float | None = None
    kept: Sequence[Ended] = ()


class JobStore(Protocol):
    """Jobs that are pushed, leased and settled. Every method may be called from any thread, several at a time.

    A store that can't be reached raises Unavailable, and what it was asked is asked again. So each method does the
    same when it is called twice.

    Attributes:
        seconds: how long a lease lasts, unless it is renewed; where jobs have their own, the shortest one in hand.
        look_every: seconds between two looks for jobs while a worker is idle, beside what `wait` tells.
        keeps_headers: a message's key and headers travel with it. Elsewhere only the payload does, as in Laravel.
        lacks: what it can't do, by the keys of `Queue.lacks`, with the reason that users are told.
    """

    seconds: float
    look_every: float
    keeps_headers: bool
    lacks: Mapping[str, str]

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Return when all of them are safe. They may be taken in `delay` seconds, never earlier.

        Raises:
            Unavailable: they may be there, or not.
            QueueError: the store can't take one of them; none is there.
        """
        ...

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Settle what has ended, then begin up to `most` jobs, of the first queue that has any; all or nothing.

        A start is counted here: a worker that dies later has used it up. The end of a lease that has run out changes
        nothing: others may have the job by now. Without queues nothing is begun. One thread calls this at a time.

        Raises:
            Unavailable: it may have been done, or not. The next call is given the same ends once more, and gives out
                what this one has begun, if it has, leased anew: no start may be counted of a job that nobody was given.
        """
        ...

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Let leases last for `seconds` from now; those that others may have by now."""
        ...

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Until a job may have come, True, or `seconds` are over."""
        ...

    def sizes(self, queue: str) -> Sizes:
        """How many jobs a queue has."""
        ...

    def clear(self, queue: str) -> int:
        """Delete all jobs of a queue, leased or not, as `Queue.clear` says; how many those were."""
        ...

    def close(self) -> None:
        """Let go of the connections. A `wait` that is under way in another thread ends soon, by an error or without."""
        ...
