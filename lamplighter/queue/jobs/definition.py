"""What a class must be to be a job; looked at once, when it is registered."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from lamplighter.errors import ConfigError
from lamplighter.queue.jobs.job import Job, own_fields
from lamplighter.queue.jobs.payload import CLAIM_JOB, Envelope
from lamplighter.queue.jobs.policy import check_values

UNFIT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
IN_PLACE = "Let it do its work before it returns, without `yield`."


def check(cls: type[Job], *, runs_here: bool = True) -> None:
    """Look whether a class can be a job; one that does not run here needs no `handle`.

    Raises:
        ConfigError: it can't; the message names the class, and says what to write.
    """
    if runs_here:
        _check_handler(cls)
    if own_fields(cls) and "__dataclass_fields__" not in vars(cls):
        raise ConfigError(f"{path_of(cls)} has fields, but is no dataclass; put @dataclass(frozen=True) above it.")
    check_values(cls, path_of(cls))
    if cls.name == CLAIM_JOB:
        raise ConfigError(f"{path_of(cls)} is named {CLAIM_JOB!r}, which stands for payloads that are kept elsewhere.")
    if not dataclasses.is_dataclass(cls):
        _check_constructor(cls)
        return
    _check_aliases(cls, [field.name for field in dataclasses.fields(cls)])
    _check_fields(cls)


def maker(cls: type[Job]) -> Callable[[Envelope], Job]:
    """How a payload becomes a job.

    The fields of a class are decoded by their types, from the JSON. What does not fit, or is written in another way, as
    PHP writes no fields as an empty list, is left to `from_data`. A class without fields looks at nothing.
    """
    if not dataclasses.is_dataclass(cls) and not reads_by_itself(cls):
        return lambda envelope: cls()
    if reads_by_itself(cls) or cls.aliases:
        return lambda envelope: cls.from_data(envelope.data)
    decode = msgspec.json.Decoder(cls).decode

    def make(envelope: Envelope) -> Job:
        try:
            return decode(envelope.raw)
        except UNFIT:
            return cls.from_data(envelope.data)

    return make


def reads_by_itself(cls: type[Job]) -> bool:
    """Whether a class has a `from_data` of its own."""
    return getattr(cls.from_data, "__func__", None) is not getattr(Job.from_data, "__func__", None)


def path_of(cls: type) -> str:
    """Where a class is defined, for messages."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _check_handler(cls: type[Job]) -> None:
    if not callable(getattr(cls, "handle", None)) and not hasattr(cls, "handle_many"):
        raise ConfigError(
            f"{path_of(cls)} has no method `handle`, where a job does its work; a base of several jobs is an ABC."
        )
    _check_many(cls)
    for method in ("handle", "handle_many", "failed"):
        _check_method(cls, method)


def _check_constructor(cls: type[Job]) -> None:
    """What an `__init__` takes is in no payload, and nobody gives it where the job runs."""
    if cls.__init__ is object.__init__ or (reads_by_itself(cls) and cls.to_data is not Job.to_data):
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    taken = [parameter.name for parameter in parameters if parameter.kind not in variadic]
    if taken:
        fields = ", ".join(f"`{name}`" for name in taken)
        raise ConfigError(
            f"{path_of(cls)} takes {', '.join(taken)} in an `__init__` of its own, which would not travel. Put "
            f"@dataclass(frozen=True) above the class, and {fields} with a type into it, in place of the `__init__`."
        )


def _check_method(cls: type[Job], name: str) -> None:
    method = getattr(cls, name, None)
    if method is None:
        return
    # Called as they are, they would come back at once with nothing done. A coroutine is awaited.
    if inspect.isasyncgenfunction(method):
        raise ConfigError(f"{path_of(cls)}.{name} is an async generator; jobs are called and not iterated. {IN_PLACE}")
    if inspect.isgeneratorfunction(method):
        raise ConfigError(f"{path_of(cls)}.{name} is a generator; jobs are called and not iterated. {IN_PLACE}")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    kinds = [parameter.kind for parameter in inspect.signature(method).parameters.values()]
    if (
        name == "failed"
        and sum(kind in positional for kind in kinds) < 2
        and inspect.Parameter.VAR_POSITIONAL not in kinds
    ):
        raise ConfigError(f"{path_of(cls)}.failed is given the error of the job: `def failed(self, error)`.")


def _check_many(cls: type[Job]) -> None:
    if not hasattr(cls, "handle_many"):
        for policy in ("batch_size", "batch_wait_ms"):
            if getattr(cls, policy) is not None:
                raise ConfigError(
                    f"{path_of(cls)} has {policy}, and no class method `handle_many` that it could be for."
                )
        return
    if not isinstance(inspect.getattr_static(cls, "handle_many"), classmethod | staticmethod):
        raise ConfigError(
            f"{path_of(cls)}.handle_many is given many jobs and is called on none of them: put @classmethod above it, "
            f"`def handle_many(cls, jobs: Sequence[Self], ...)`."
        )
    if cls.batch_size == 0:
        raise ConfigError(f"{path_of(cls)} has 0 for batch_size, which takes a whole number from 1.")


def _check_aliases(cls: type[Job], fields: list[str]) -> None:
    for field in cls.aliases:
        if field not in fields:
            raise ConfigError(
                f"{path_of(cls)} has an alias for {field!r}, which is no field; `aliases` is {{field: name on the "
                f"wire}}, and the fields are {', '.join(fields) or 'none'}."
            )
    travels = [cls.aliases.get(field, field) for field in fields]
    for name in travels:
        if travels.count(name) > 1:
            raise ConfigError(f"{path_of(cls)} has two fields that travel as {name!r}; give one another alias.")


def _check_fields(cls: type[Job]) -> None:
    if reads_by_itself(cls):
        return  # it reads its fields by itself
    try:
        msgspec.json.schema(cls, schema_hook=_foreign)
    except (TypeError, NameError) as error:
        raise ConfigError(f"{path_of(cls)} has a field that can't travel as JSON: {error}.") from error


def _foreign(kind: Any) -> dict[str, Any]:
    """Msgspec knows any other type by its shape."""
    if kind is object:
        return {"description": "anything"}
    name = path_of(kind) if isinstance(kind, type) else str(kind)
    raise TypeError(f"{name} has no form there. Let its id travel, and fetch it in `handle`")
