"""The shapes that the rooms of the framework hand to each other: the house on one page."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from queue import SimpleQueue

T = TypeVar("T")
E = TypeVar("E")

Headers = Sequence[tuple[str, bytes | None]]
Reach = Literal["process", "host", "shared"]


# ── building ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Container(Protocol):
    """Builds objects from the annotations of their constructors. Keys are types; a string may be an alias."""

    def bind(self, key: type[T] | str, factory: Callable[..., T] | None = None) -> None: ...
    def singleton(self, key: type[T] | str, factory: Callable[..., T] | None = None) -> None: ...
    def scoped(
        self, key: type[T] | str, factory: Callable[..., T] | None = None, *, end: Callable[[T], object] | None = None
    ) -> None: ...
    def instance(self, key: type[T] | str, value: T) -> T: ...
    def extend(self, key: type[T] | str, decorate: Callable[[T, "Container"], T]) -> None: ...
    def has(self, key: type[Any] | str) -> bool: ...
    def make(self, key: type[T], /, **parameters: object) -> T: ...
    def call(self, callback: Callable[..., T], /, **parameters: object) -> T: ...
    def invoker(self, function: Callable[..., T], *, leading: int = 0, given: Sequence[type] = ()) -> "Invoker[T]": ...
    @property
    def scope(self) -> ContextVar[dict[Any, Any] | None]: ...
    def end_scope(self) -> None: ...


class Invoker(Protocol[T]):  # type: ignore[misc]  # T is only returned
    """A function whose signature was read once: the leading arguments, then one value for each given type."""

    needs: frozenset[type]

    def __call__(self, *arguments: object) -> T: ...


class Application(Container, Protocol):
    """The container that knows where the project lies and which providers it has."""

    @property
    def base_path(self) -> Path: ...
    @property
    def environment(self) -> str: ...
    @property
    def is_booted(self) -> bool: ...
    def path(self, *parts: str) -> Path: ...
    def bootstrap(self) -> "Application": ...
    def booted(self, callback: Callable[[], object]) -> None: ...
    def leave_within(self, seconds: float) -> None: ...


class Config(Protocol):
    """Settings by dotted key; the typed getters raise ConfigError on a value of another type."""

    def get(self, key: str, default: object = None) -> Any: ...
    def set(self, key: str, value: object) -> None: ...
    def has(self, key: str) -> bool: ...
    def string(self, key: str, default: str | None = None) -> str: ...
    def integer(self, key: str, default: int | None = None) -> int: ...
    def boolean(self, key: str, default: bool | None = None) -> bool: ...
    def mapping(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]: ...


class Events(Protocol):
    """Listeners by the class of the event."""

    def listen(self, event: type[E], listener: Callable[[E], object]) -> None: ...
    def listeners(self, event: type[E]) -> Sequence[Callable[[E], object]]: ...
    def dispatch(self, event: object) -> None: ...


class ExceptionHandler(Protocol):
    """Where an error ends that nobody else deals with."""

    def report(self, error: BaseException) -> None: ...
    def render(self, error: BaseException, *, verbosity: int) -> int: ...


class Maintenance(Protocol):
    """Whether the application is down on purpose."""

    def is_down(self) -> bool: ...


# ── cache ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Lock(Protocol):
    """A lock with an owner; it ends by itself after its seconds."""

    @property
    def owner(self) -> str: ...
    def acquire(self) -> bool: ...
    def release(self) -> bool: ...


class Store(Protocol):
    """Values by key. None is a miss; ttl is in seconds, and None keeps the value for ever."""

    reach: Reach

    def get(self, key: str) -> Any: ...
    def put(self, key: str, value: object, ttl: float | None) -> bool: ...
    def add(self, key: str, value: object, ttl: float | None) -> bool: ...
    def increment(self, key: str, by: int = 1) -> int: ...
    def forget(self, key: str) -> bool: ...
    def flush(self) -> None: ...
    def lock(self, name: str, seconds: float, owner: str | None = None) -> Lock: ...


# ── queue ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Message:
    """What is pushed: a payload, and on Kafka its key and headers."""

    payload: bytes
    key: bytes | None = None
    headers: Headers = ()


@runtime_checkable
class Delivery(Protocol):
    """One message in the worker's hand. Of delete, release and fail, exactly one settles it.

    A handler that asks for its delivery may settle it itself; one that does not is settled by the worker. When the job
    has ended, they raise a QueueError.

    Attributes:
        id: the key as text, else the payload's `id`, else its `uuid`.
        position: where it came from, such as `topic[partition]@offset` on Kafka.
        attempts: how often the job was started, this time included.
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
    def id(self) -> str: ...
    @property
    def position(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    def delete(self) -> None: ...
    def release(self, delay: float = 0) -> None: ...
    def fail(self, error: BaseException | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many jobs of one queue are to be run.

    Attributes:
        pending: now.
        delayed: later; None where they are counted elsewhere, which is away: `unknown` says why.
        reserved: they are in workers' hands.
        oldest: when the first pending one was pushed, in seconds since 1970; None where nobody knows.
        notes: sentences on what the numbers alone don't tell.
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


class Queue(Protocol):
    """One configured connection. Each has every method here; what it can't do is told by `lacks`.

    Attributes:
        lacks: what it can't do, with the reason that users are told, as one sentence. The keys are names of methods;
            "delay"; "work", where it is no WorkQueue; and "clear_delayed", "clear_reserved" and "clear_others", where
            `clear` leaves such jobs. A method that is named here raises a QueueError, or has nothing to do.
    """

    @property
    def connection(self) -> str: ...
    @property
    def default_queue(self) -> str: ...
    @property
    def lacks(self) -> Mapping[str, str]: ...

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when the message is safe; Unavailable if nobody says so in time, QueueError if it can't be pushed."""
        ...

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Push them all and wait once; the number pushed."""
        ...

    def sizes(self, queue: str) -> Sizes:
        """How many jobs a queue has; QueueError where there is no such queue, or it can't be asked."""
        ...

    def clear(self, queue: str) -> int:
        """Delete all jobs of a queue: what waits, what is due later, what is in workers' hands; how many those were.

        A job in hand goes on to its end, and does not come back: a release and the death of its worker change nothing.
        """
        ...

    def held(self, *, most: int) -> Sequence[HeldJob]:
        """The jobs that are due later, the earliest first."""
        ...

    def cancel(self, id: str) -> int:
        """Take back what waits under this id; how many jobs that were."""
        ...

    def close(self, *, timeout: float) -> bool:
        """Let go of everything; False when that could not be finished within `timeout` seconds."""
        ...


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
        has_further_start: "HasFurtherStart | None" = None,
        *,
        slots: int = 1,
    ) -> None:
        """Begin to fetch from the queues `names`; `bell` is rung when something has arrived.

        `has_further_start` says of a delivery whether it may be started once more if the worker dies of its next
        start; it runs nothing of the application's. `slots` is how many jobs the worker runs beside each other.
        """
        ...

    def pop(self, names: Sequence[str], wait: float) -> "DriverDelivery | None":
        """The next delivery, the first name first; None after `wait` seconds without one, or when the bell rang.

        A QueueError says that the connection has failed for good.
        """
        ...

    def pause(self, names: Collection[str]) -> None:
        """Take nothing from these queues, in place of those named before; any thread may say so, before `open` too.

        The names are without weights. The jobs in hand go on.
        """
        ...

    def serve(self, wait: float) -> None:
        """Take acknowledgements of what jobs have pushed, until one came, the bell rang or `wait` seconds are over."""
        ...

    def is_exhausted(self) -> bool:
        """Whether all that was there when this worker came is popped and done, but for what is paused."""
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

    def read_claim(self, delivery: "DriverDelivery") -> bytes:
        """The payload that is kept elsewhere; ClaimLost where there is none, AlreadyDone where its job is done."""
        ...


class DriverDelivery(Protocol):
    """What `pop` returns. Exactly one of delete, release and fail is called for each pop.

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

    retries: int
    has_crashed: bool
    excused: int
    failure: BaseException | None
    is_recorded: bool
    singly: bool

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
    @property
    def is_suspect(self) -> bool: ...

    def delete(self) -> None:
        """It is done."""
        ...

    def release(self, delay: float, *, counted: bool = True) -> None:
        """Have it popped again after `delay` seconds, with one more retry if `counted`."""
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
        """Its worker ends by an error that is not the job's own: this start counts as one that it has died of.

        Whether that was said; of what is settled already nothing is.
        """
        ...


HasFurtherStart = Callable[[DriverDelivery], bool]


class Databases(Protocol):
    """SQLAlchemy engines by the connection's name, the default connection's without one."""

    def engine(self, name: str | None = None) -> Any: ...


class DatabaseErrors(Protocol):
    """What the database layer knows about errors that the queue has to tell apart."""

    def is_lost_connection(self, error: BaseException) -> bool: ...
    def is_deadlock(self, error: BaseException) -> bool: ...
