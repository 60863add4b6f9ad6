"""The base class of every job."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

import msgspec

from lamplighter.errors import ConfigError, InvalidData
from lamplighter.queue.jobs.policy import POLICY, check_names

METHODS = frozenset({"handle", "handle_many", "failed", "key", "from_data", "to_data", "wire_name"})


class Job:
    """A unit of work. Subclasses are frozen dataclasses with a `handle` method, or a class method `handle_many`.

    Annotated names are the fields that travel; policy has no annotation. Each policy that is None leaves the choice
    to the worker's options.

    Attributes:
        name: the job's name on the wire, for ever; the class's import path where none is set.
        tries: how often it may be started; 0 is without end.
        backoff: seconds before the next attempt; of several, one for each attempt, the last repeated.
        timeout: seconds that one attempt may take; 0 is without end.
        queue: the queue it is dispatched to, instead of the connection's own.
        connection: the connection it is dispatched on, instead of the default.
        batch_size: how many jobs `handle_many` is given at most in one call; 100 where none is set.
        batch_wait_ms: milliseconds that the first of them waits for others; 0 takes what is there.
        aliases: the wire name of each field whose name on the wire isn't its name here.
        runs_elsewhere: another application has the handler; here it is dispatched, and not registered.
    """

    name: ClassVar[str] = ""
    tries: ClassVar[int | None] = None
    backoff: ClassVar[float | Sequence[float] | None] = None
    timeout: ClassVar[float | None] = None
    queue: ClassVar[str | None] = None
    connection: ClassVar[str | None] = None
    batch_size: ClassVar[int | None] = None
    batch_wait_ms: ClassVar[float | None] = None
    aliases: ClassVar[Mapping[str, str]] = {}
    runs_elsewhere: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: object) -> None:
        super().__init_subclass__(**keywords)
        path = f"{cls.__module__}.{cls.__qualname__}"
        taken = sorted((POLICY.keys() | METHODS) & own_fields(cls))
        if taken:
            raise ConfigError(
                f"{path} has a field named {taken[0]!r}, a job's policy or method. "
                f"Remove the annotation to set the policy, or give the field another name and "
                f"`aliases = {{'another_name': {taken[0]!r}}}` to keep it on the wire."
            )
        check_names(path, _attributes(cls))

    @classmethod
    def wire_name(cls) -> str:
        """The name under which the job travels."""
        return cls.name or f"{cls.__module__}.{cls.__qualname__}"

    @classmethod
    def from_data(cls, data: object) -> Self:
        """The job whose fields are `data`; PHP's empty list and an absent `data` count as an empty object.

        Raises:
            InvalidData: a value does not fit its field; the message names the field.
        """
        if not data and not isinstance(data, int | float):
            data = {}
        if not hasattr(cls, "__dataclass_fields__"):
            return cls()
        if cls.aliases and isinstance(data, dict):
            wire = {alias: field for field, alias in cls.aliases.items()}
            data = {wire.get(key, key): value for key, value in data.items()}
        try:
            # str_keys: the keys of a dictionary were numbers or UUIDs before JSON made them text.
            return msgspec.convert(data, cls, str_keys=True)
        except (msgspec.ValidationError, RecursionError, UnicodeEncodeError) as error:
            raise InvalidData(f"The data of {cls.wire_name()} do not fit {cls.__qualname__}: {error}.") from error

    def to_data(self) -> object:
        """The fields as they travel: what `msgspec.json.encode` can write, and `from_data` reads."""
        if not dataclasses.is_dataclass(self):
            return {}
        wire = self.aliases
        fields = {wire.get(field.name, field.name): getattr(self, field.name) for field in dataclasses.fields(self)}
        return msgspec.to_builtins(fields)

    def key(self) -> str | bytes | None:
        """The message's key, which keeps the jobs that share it in order; None takes the payload's id."""
        return None


def own_fields(cls: type) -> set[str]:
    """The names that a class itself annotates as fields; ClassVars are none."""
    return {name for name, kind in inspect.get_annotations(cls).items() if "ClassVar" not in str(kind)}


def _attributes(cls: type[Job]) -> Iterator[tuple[str, object]]:
    """What a class and its mixins say that is neither policy nor field; its bases that are jobs were looked at."""
    known = {name for base in cls.__mro__ for name in own_fields(base)} | POLICY.keys()
    for owner in cls.__mro__:
        if owner is cls or not issubclass(owner, Job):
            yield from ((name, value) for name, value in vars(owner).items() if name not in known)
