"""The jobs that this application has declared, by their names on the wire; no other name runs."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec

from lamplighter.contracts import Container, Delivery, Invoker
from lamplighter.errors import ConfigError, UnknownJob
from lamplighter.queue.handlers import ManyAtOnce, OneOfMany
from lamplighter.queue.job import Job, own_fields
from lamplighter.queue.retries import parse_backoff

POLICY_TYPES: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("name", (str,), "a text"),
    ("queue", (str,), "a text"),
    ("connection", (str,), "a text"),
    ("tries", (int,), "a whole number, 0 for no end"),
    ("timeout", (int, float), "seconds, 0 for no end"),
    ("batch_size", (int,), "a whole number from 1"),
    ("batch_wait_ms", (int, float), "milliseconds, 0 for no wait"),
)
IN_PLACE = "Make it a plain method that does its work before it returns, by `asyncio.run(...)` where that has to be."
BATCH_SIZE = 100
PHP_OBJECT_JOB = "Illuminate\\Queue\\CallQueuedHandler@call"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One registered job: its class, what its handler needs, and its policy; read once, not for each message.

    Attributes:
        many: how several jobs of the class are handled in one call; None where each is handled by itself.
        batch_size, batch_wait: how many these are at most, and how many seconds the first one waits for others.
    """

    cls: type[Job]
    make: Callable[[object], Job]
    handle: Invoker[object]
    failed: Invoker[object] | None
    wants_delivery: bool
    is_async: bool
    tries: int | None
    backoff: tuple[float, ...] | None
    timeout: float | None
    many: "Entry | None" = None
    batch_size: int = 1
    batch_wait: float = 0.0


class Registry:
    """Jobs by wire name."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._entries: dict[str, Entry] = {}

    def register(self, *classes: type[Job]) -> None:
        """Let payloads name these jobs.

        Raises:
            ConfigError: a class can't be a job, or two have one name.
        """
        for cls in classes:
            name = cls.wire_name()
            known = self._entries.get(name)
            if known is not None and known.cls is not cls:
                raise ConfigError(f"Two jobs are named {name!r}: {_path(known.cls)} and {_path(cls)}. Rename one.")
            self._entries[name] = self._entry(cls)

    def register_modules(self, modules: Iterable[ModuleType]) -> None:
        """Register every job that these modules define themselves, and no abstract base of theirs."""
        for module in modules:
            for value in vars(module).values():
                is_job = isinstance(value, type) and issubclass(value, Job) and value.__module__ == module.__name__
                if is_job and not inspect.isabstract(value):
                    self.register(value)

    def names(self) -> list[str]:
        """The registered wire names, sorted."""
        return sorted(self._entries)

    def find(self, job: str) -> Entry:
        """The job of a payload's `job`, which may carry `@method` as Laravel's do.

        Raises:
            UnknownJob: nothing is registered under that name.
        """
        entry = self._entries.get(job) or self._entries.get(job.partition("@")[0])
        if entry is None:
            raise UnknownJob(self._unknown(job))
        return entry

    def _unknown(self, job: str) -> str:
        if job == PHP_OBJECT_JOB:
            return (
                "The payload is a serialized PHP object, which is not run here. Send it as a string job, whose name a "
                "class in app/Jobs registers, and retry this one from the PHP side."
            )
        known = ", ".join(self.names()) or "none"
        return (
            f"No job is registered as {job[:200]!r}; put a class with that `name` into app/Jobs. Registered: {known}."
        )

    def _entry(self, cls: type[Job]) -> Entry:
        _check(cls)
        handle = self._handler(cls)
        hook = getattr(cls, "failed", None)
        entry = Entry(
            cls=cls,
            make=_maker(cls),
            handle=handle,
            failed=self._container.invoker(hook, leading=2, given=(Delivery,)) if hook else None,
            wants_delivery=Delivery in handle.needs,
            is_async=inspect.iscoroutinefunction(getattr(cls, "handle", None) or cls.handle_many),  # type: ignore[attr-defined]
            tries=cls.tries,
            backoff=None if cls.backoff is None else parse_backoff(cls.backoff),
            timeout=cls.timeout,
        )
        return self._with_many(entry) if hasattr(cls, "handle_many") and cls.batch_size != 1 else entry

    def _handler(self, cls: type[Job]) -> Invoker[object]:
        handle = getattr(cls, "handle", None)
        if handle is None:
            is_async = inspect.iscoroutinefunction(cls.handle_many)  # type: ignore[attr-defined]
            return OneOfMany(ManyAtOnce(self._container, cls), is_async=is_async)
        return self._container.invoker(handle, leading=1, given=(Delivery,))

    def _with_many(self, entry: Entry) -> Entry:
        cls = entry.cls
        many = dataclasses.replace(
            entry,
            handle=ManyAtOnce(self._container, cls),
            failed=None,
            wants_delivery=False,  # it asks the call for its deliveries
            is_async=inspect.iscoroutinefunction(cls.handle_many),  # type: ignore[attr-defined]
        )
        return dataclasses.replace(
            entry,
            many=many,
            batch_size=cls.batch_size or BATCH_SIZE,
            batch_wait=(cls.batch_wait_ms or 0) / 1000,
        )


def _maker(cls: type[Job]) -> Callable[[object], Job]:
    """How the data of a payload become a job; one without fields needs to look at nothing."""
    if _reads_by_itself(cls) or dataclasses.is_dataclass(cls):
        return cls.from_data
    return lambda data: cls()


def _reads_by_itself(cls: type[Job]) -> bool:
    return getattr(cls.from_data, "__func__", None) is not getattr(Job.from_data, "__func__", None)


def _check(cls: type[Job]) -> None:
    if not callable(getattr(cls, "handle", None)) and not hasattr(cls, "handle_many"):
        raise ConfigError(
            f"{_path(cls)} has no method `handle`, where a job does its work; a base of several jobs is an ABC."
        )
    _check_many(cls)
    if own_fields(cls) and "__dataclass_fields__" not in vars(cls):
        raise ConfigError(f"{_path(cls)} has fields, but is no dataclass; put @dataclass(frozen=True) above it.")
    for method in ("handle", "handle_many", "failed"):
        _check_method(cls, method)
    _check_policy(cls)
    if dataclasses.is_dataclass(cls):
        _check_aliases(cls, [field.name for field in dataclasses.fields(cls)])
        _check_fields(cls)


def _check_method(cls: type[Job], name: str) -> None:
    method = getattr(cls, name, None)
    if method is None:
        return
    # Called as they are, they would come back at once with nothing done, and the job would count as run.
    if inspect.isasyncgenfunction(method) or (name == "failed" and inspect.iscoroutinefunction(method)):
        raise ConfigError(f"{_path(cls)}.{name} is async; it is called and not awaited. {IN_PLACE}")
    if inspect.isgeneratorfunction(method):
        raise ConfigError(f"{_path(cls)}.{name} is a generator; jobs are called and not iterated. {IN_PLACE}")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    if (
        name == "failed"
        and sum(kind in positional for kind in kinds) < 2
        and inspect.Parameter.VAR_POSITIONAL not in kinds
    ):
        raise ConfigError(f"{_path(cls)}.failed is given the error of the job: `def failed(self, error)`.")


def _check_many(cls: type[Job]) -> None:
    if not hasattr(cls, "handle_many"):
        for policy in ("batch_size", "batch_wait_ms"):
            if getattr(cls, policy) is not None:
                raise ConfigError(f"{_path(cls)} has {policy}, and no class method `handle_many` that it could be for.")
        return
    if not isinstance(inspect.getattr_static(cls, "handle_many"), classmethod | staticmethod):
        raise ConfigError(
            f"{_path(cls)}.handle_many is given many jobs and is called on none of them: put @classmethod above it, "
            f"`def handle_many(cls, jobs: Sequence[Self], ...)`."
        )
    if cls.batch_size == 0:
        raise ConfigError(f"{_path(cls)} has 0 for batch_size, which takes a whole number from 1.")


def _check_policy(cls: type[Job]) -> None:
    for policy, kinds, takes in POLICY_TYPES:
        value = getattr(cls, policy)
        if value is not None and not _fits(value, kinds):
            raise ConfigError(f"{_path(cls)} has {value!r} for {policy}, which takes {takes}.")
    try:
        parse_backoff(cls.backoff)
    except ConfigError as error:
        raise ConfigError(f"{_path(cls)} has no backoff that can be read. {error}") from error


def _fits(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return not isinstance(value, int | float) or value >= 0


def _check_aliases(cls: type[Job], fields: list[str]) -> None:
    for field in cls.aliases:
        if field not in fields:
            raise ConfigError(
                f"{_path(cls)} has an alias for {field!r}, which is no field; `aliases` is {{field: name on the "
                f"wire}}, and the fields are {', '.join(fields) or 'none'}."
            )
    travels = [cls.aliases.get(field, field) for field in fields]
    for name in travels:
        if travels.count(name) > 1:
            raise ConfigError(f"{_path(cls)} has two fields that travel as {name!r}; give one another alias.")


def _check_fields(cls: type[Job]) -> None:
    if _reads_by_itself(cls):
        return  # it reads its fields by itself
    try:
        msgspec.json.schema(cls, schema_hook=_foreign)
    except (TypeError, NameError) as error:
        raise ConfigError(f"{_path(cls)} has a field that can't travel as JSON: {error}.") from error


def _foreign(kind: Any) -> dict[str, Any]:
    """Msgspec knows any other type by its shape."""
    if kind is object:
        return {"description": "anything"}
    name = _path(kind) if isinstance(kind, type) else str(kind)
    raise TypeError(f"{name} has no form there. Let its id travel, and fetch it in `handle`")


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
