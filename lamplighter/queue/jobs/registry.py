"""The jobs that this application has declared, by their names on the wire; no other name runs."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from lamplighter.contracts import Container, Delivery, Invoker
from lamplighter.errors import ConfigError, UnknownJob
from lamplighter.queue.jobs.definition import check, maker, path_of
from lamplighter.queue.jobs.handlers import ManyAtOnce, OneOfMany
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import Envelope
from lamplighter.queue.jobs.retries import parse_backoff

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
    make: Callable[[Envelope], Job]
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
            if cls.runs_elsewhere:
                raise ConfigError(
                    f"{path_of(cls)} says that it `runs_elsewhere`, and is registered to run here. Do one of the two."
                )
            name = cls.wire_name()
            known = self._entries.get(name)
            if known is not None and known.cls is not cls:
                raise ConfigError(f"Two jobs are named {name!r}: {path_of(known.cls)} and {path_of(cls)}. Rename one.")
            self._entries[name] = self._entry(cls)

    def register_modules(self, modules: Iterable[ModuleType]) -> None:
        """Register every job that these modules define themselves, but for abstract bases and what runs elsewhere."""
        for module in modules:
            for value in vars(module).values():
                is_job = isinstance(value, type) and issubclass(value, Job) and value.__module__ == module.__name__
                if is_job and not value.runs_elsewhere and not inspect.isabstract(value):
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

    def get(self, job: str) -> Entry | None:
        """The same; None where nothing is registered under that name."""
        return self._entries.get(job) or self._entries.get(job.partition("@")[0])

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
        check(cls)
        handle = self._handler(cls)
        hook = getattr(cls, "failed", None)
        entry = Entry(
            cls=cls,
            make=maker(cls),
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
            return OneOfMany(ManyAtOnce(self._container, cls))
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
