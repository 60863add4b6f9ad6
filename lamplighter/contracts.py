"""The shapes that the rooms of the framework hand to each other: the house on one page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

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
    def id(self) -> str:
        """The key as text, else the payload's `id`, else its `uuid`."""
        ...

    @property
    def position(self) -> str:
        """`topic[partition]@offset` on Kafka."""
        ...

    @property
    def attempts(self) -> int:
        """How often the job was started, this time included."""
        ...

    def delete(self) -> None: ...
    def release(self, delay: float = 0) -> None: ...
    def fail(self, error: BaseException | None = None) -> None: ...


class Queue(Protocol):
    """One configured connection that can push."""

    @property
    def connection(self) -> str: ...
    @property
    def default_queue(self) -> str: ...

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when the message is safe.

        Raises:
            Unavailable: it was not acknowledged in time.
            QueueError: it can't be pushed at all.
        """
        ...

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Push them all and wait once; the number pushed."""
        ...

    def close(self, *, timeout: float) -> bool:
        """Let go of everything; False when that could not be finished within `timeout` seconds."""
        ...


class Databases(Protocol):
    """SQLAlchemy engines by the connection's name, the default connection's without one."""

    def engine(self, name: str | None = None) -> Any: ...


class DatabaseErrors(Protocol):
    """What the database layer knows about errors that the queue has to tell apart."""

    def is_lost_connection(self, error: BaseException) -> bool: ...
    def is_deadlock(self, error: BaseException) -> bool: ...
