"""A message in the worker's hand, as its driver gives it and as its handler sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, runtime_checkable

from lamplighter.contracts import Headers, Queue
from lamplighter.errors import ManuallyFailed, QueueError
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.jobs.retries import check_delay


class DriverDelivery(Protocol):
    """What a driver's `pop` returns. Exactly one of delete, release and fail is called for each pop.

    Attributes:
        payload: the message's bytes; empty where it has none.
        timestamp_ms: when the broker got it, in milliseconds since 1970; None where it does not say.
        retries: how often it was started before in its place, beyond what its payload says.
        has_crashed: its worker died while it was in hand, and may have died of it; such a start is among the retries.
        excused: how often it was released without counting an attempt, since this worker has it.
        failure: the error of a failure that is still to be recorded; None for a delivery that is to be run.
        is_recorded: the failed-job store has its failure, and only its `failed()` is still to be called.
        is_suspect: an earlier worker may have died of it, so that it is in no call with others.
        singly: it was begun among others, in a call that failed, and is begun again by itself.
    """

    @property
    def payload(self) -> bytes: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def queue(self) -> str: ...
    @property
    def connection(self) -> str: ...
    @property
    def position(self) -> str: ...
    @property
    def timestamp_ms(self) -> int | None: ...

    retries: int
    has_crashed: bool
    excused: int
    failure: BaseException | None
    is_recorded: bool
    singly: bool

    @property
    def is_suspect(self) -> bool: ...

    def delete(self) -> None:
        """It is done."""
        ...

    def release(self, delay: float, *, counted: bool = True) -> None:
        """It is to be popped again after `delay` seconds, with one more retry if `counted`."""
        ...

    def keep(self) -> None:
        """It stays in hand while others are popped; what must come after it waits."""
        ...

    def put_back(self) -> None:
        """It is popped again, as if it had not been, before what must follow it."""
        ...

    def follows(self, other: "DriverDelivery") -> bool:
        """Whether the other one has to be done before this one."""
        ...

    def fail(self, error: BaseException) -> None:
        """It is recorded as failed, and done."""
        ...

    def count_crash(self) -> bool:
        """Its worker ends by an error which is not the job's own: this start counts as one that its worker has died of.

        Whether that was said; of what is settled already nothing is.
        """
        ...


HasFurtherStart = Callable[[DriverDelivery], bool]


@runtime_checkable
class WorkQueue(Queue, Protocol):
    """A connection that a worker can take jobs from.

    Attributes:
        deadlock_wait: seconds until a job that met a database deadlock is run again.
        served_by: the process that runs its jobs and calls `serve`, so that what these push need not wait; 0 for none.
    """

    served_by: int

    @property
    def deadlock_wait(self) -> float: ...

    def open(
        self,
        names: Sequence[str],
        bell: "SimpleQueue[object]",
        has_further_start: HasFurtherStart | None = None,
        *,
        slots: int = 1,
    ) -> None:
        """Begin to fetch from the queues `names`; `bell` is rung when something has arrived.

        `has_further_start` says of a delivery whether it may be started once more if the worker dies of its next
        start; it runs nothing of the application's. `slots` is how many jobs the worker runs beside each other.
        """
        ...

    def pop(self, names: Sequence[str], wait: float) -> DriverDelivery | None:
        """The next delivery, the first name first; None after `wait` seconds without one, or when the bell rang.

        Raises:
            QueueError: the connection has failed for good.
        """
        ...

    def serve(self, wait: float) -> None:
        """Take acknowledgements of what jobs have pushed, until one came, the bell rang or `wait` seconds are over."""
        ...

    def is_exhausted(self) -> bool:
        """Whether all that was in the queues when this worker came is popped, and nothing waits to run again."""
        ...

    def polled_at(self) -> float:
        """When the connection was last alive, on the monotonic clock."""
        ...

    def stall(self, *, is_busy: bool) -> str | None:
        """What is seen when there is something to do and nothing has gone on for too long; None while all is well.

        Asked every second or so by a thread that neither pops nor polls. `is_busy` while a job is in hand, or none is
        taken on purpose.
        """
        ...


@dataclass(frozen=True, slots=True)
class Released:
    """What a handler asked for by `release(delay)`."""

    delay: float


@dataclass(frozen=True, slots=True)
class Failed:
    """What a handler asked for by `fail(error)`."""

    error: BaseException


class Deleted:
    """What a handler asked for by `delete()`."""


class InHand:
    """The delivery as its handler sees it: what it asks for is done by the worker, once, when the handler returns."""

    __slots__ = ("_delivery", "_payload", "attempts", "has_ended", "id", "wish")

    has_ended: bool  # set when what it has asked for is read; not there before, since one is made for each start

    def __init__(self, delivery: DriverDelivery, id: str, attempts: int, *, payload: bytes | None = None) -> None:
        self._delivery = delivery
        self._payload = payload  # where it is not the message's own
        self.id = id
        self.attempts = attempts
        self.wish: Deleted | Released | Failed | None = None

    @property
    def payload(self) -> bytes:
        """The payload's bytes."""
        return self._delivery.payload if self._payload is None else self._payload

    @property
    def key(self) -> bytes | None:
        """The message's key."""
        return self._delivery.key

    @property
    def headers(self) -> Headers:
        """The message's headers."""
        return self._delivery.headers

    @property
    def queue(self) -> str:
        """The name of the topic or list it came from."""
        return self._delivery.queue

    @property
    def connection(self) -> str:
        """The connection it came from."""
        return self._delivery.connection

    @property
    def position(self) -> str:
        """`topic[partition]@offset` on Kafka."""
        return self._delivery.position

    def delete(self) -> None:
        """The job is done, whatever the handler still does.

        Raises:
            QueueError: the job has ended already.
        """
        self._ask(Deleted())

    def release(self, delay: float = 0) -> None:
        """The job is to run again in `delay` seconds; the attempt counts.

        Raises:
            QueueError: the job has ended already.
            ValueError: the delay is no number of seconds. Said here, where it is the handler's own error.
        """
        check_delay(delay, ValueError)
        self._ask(Released(max(0, delay)))

    def fail(self, error: BaseException | None = None) -> None:
        """The job has failed for good.

        Raises:
            QueueError: the job has ended already.
            TypeError: the error is no exception. Said here, where it is the handler's own error.
        """
        if error is not None and not issubclass(type(error), BaseException):
            raise TypeError(f"A job fails with an exception; {error!r} is none.")
        failure = ManuallyFailed("The job's handler failed it.") if error is None else tellable(error)
        self._ask(Failed(failure))

    def _ask(self, wish: Deleted | Released | Failed) -> None:
        if hasattr(self, "has_ended"):
            raise QueueError(
                f"The job at {self.position} has ended: nothing can be asked of its delivery any more. "
                f"Let `handle` wait for the threads and tasks that it starts."
            )
        if self.wish is None:
            self.wish = wish
