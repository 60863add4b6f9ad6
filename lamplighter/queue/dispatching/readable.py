"""Payloads that a worker can read: what would fail there, or arrive as something else, is refused here."""

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from lamplighter.errors import (
    ConfigError,
    InvalidPayload,
    MessageTooLarge,
    PayloadError,
    Unavailable,
    UnreadablePayload,
)
from lamplighter.queue.dispatching.difference import difference, is_plainly_same
from lamplighter.queue.jobs.definition import check, maker, path_of, reads_by_itself
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import CLAIM_JOB, MAX_BYTES, Envelope, read, read_json, write
from lamplighter.queue.jobs.policy import OF_ONE_JOB, check_values
from lamplighter.queue.jobs.retries import format_backoff
from lamplighter.support.foreign import name_of, text_of

if TYPE_CHECKING:
    from lamplighter.queue.jobs.registry import Entry, Registry

UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
DATA = (str, int, float, list, tuple, dict, set, frozenset, type(None))
NONE: frozenset[str] = frozenset()
TOO_DEEP = "its data are nested too deep"


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What is known of a class whose jobs may be dispatched; found out once.

    Attributes:
        make: how a worker makes a job of the data.
        takes: the types of its fields in words, by the fields' names.
        reads_by_itself: its own `from_data` says what its data mean, so that its fields are not compared.
    """

    path: str
    make: Callable[[Envelope], Job]
    takes: Mapping[str, str]
    reads_by_itself: bool


class ReadablePayloads:
    """Writes payloads and reads each once, by the worker's own way: the same registry, decoder and `from_data`."""

    def __init__(self, registry: "Callable[[], Registry]") -> None:
        """Takes what gives the registry, which imports the jobs: not before the first payload is written."""
        self._registry = registry
        self._shapes: dict[type, Shape] = {}

    def of_job(self, job: Job, *, id: str) -> bytes:
        """The payload of a job.

        Raises:
            InvalidPayload: no worker could read it, or would get something else; the message names class and field.
            MessageTooLarge: a worker reads no payload of this size.
        """
        shape = self._shapes.get(type(job)) or self._learn(job)
        takes = shape.takes.keys()
        others = NONE if vars(job).keys() <= takes else vars(job).keys() - takes
        if others:
            _check_policy(job, shape, others)
        try:
            data = job.to_data()
            backoff = format_backoff(job.backoff)
            payload = write(job.wire_name(), data, id=id, max_tries=job.tries, backoff=backoff, timeout=job.timeout)
        except Unavailable:
            raise
        except Exception as error:  # of a value, or of the application's own `to_data`
            fields = {name: getattr(job, name, None) for name in shape.takes}
            raise _refusal(shape.path, _unwritable(fields, error)) from error
        arrived = _read(shape.path, payload)
        if shape.reads_by_itself:
            _refuse_loss(shape.path, data, arrived)
        came = _made(shape.path, shape.make, data, arrived)
        if type(came) is not type(job):
            raise _refusal(shape.path, f"its `from_data` has made a {type(came).__qualname__} of its data")
        if not shape.reads_by_itself:
            _compare(job, came, shape, others)
        return payload

    def of_data(self, name: str, data: object, *, id: str) -> bytes:
        """The payload of a string job, which this application has registered or another.

        Raises:
            InvalidPayload: it holds what JSON can't, or the class that is registered here does not take it.
            MessageTooLarge: a worker reads no payload of this size.
        """
        told = f"The string job {name!r}"
        if not isinstance(name, str) or not name or name == CLAIM_JOB:
            raise _refusal(told, "a job's name is a text, and none that the framework uses itself")
        try:
            payload = write(name, data, id=id)
        except Exception as error:
            values = data if isinstance(data, dict) else {"data": data}
            raise _refusal(told, _unwritable(values, error, _decoded)) from error
        arrived = _read(told, payload)
        _refuse_loss(told, data, arrived)
        entry = self._registry().get(name)
        if entry is not None:
            _made(told, entry.make, data, arrived)
        return payload

    def _learn(self, job: Job) -> Shape:
        cls = type(job)
        if not issubclass(cls, Job):
            raise InvalidPayload(f"A job such as SendLetter(...) is dispatched; {job!r:.80} is a {cls.__qualname__}.")
        if cls.runs_elsewhere:
            check(cls, runs_here=False)
            make = maker(cls)
        else:
            entry = self._registry().get(cls.wire_name())
            if entry is None or entry.cls is not cls:
                raise InvalidPayload(_unregistered(cls, entry))
            make = entry.make
        shape = self._shapes[cls] = Shape(path_of(cls), make, _takes(cls), reads_by_itself(cls))
        return shape


def _read(told: str, payload: bytes) -> Envelope:
    """A payload as a worker reads it."""
    if len(payload) > MAX_BYTES:
        told = f"{told} has a payload of {len(payload):,} bytes; a worker reads at most {MAX_BYTES:,}."
        raise MessageTooLarge(told, size=len(payload), limit=MAX_BYTES)
    try:
        return read(payload)
    except UnreadablePayload as error:
        raise _refusal(told, str(error)) from error


def _made(told: str, make: Callable[[Envelope], Job], data: object, arrived: Envelope) -> Job:
    """What a worker makes of the payload that has arrived."""
    try:
        return make(arrived)
    except Unavailable:
        raise
    except PayloadError as error:
        # That a number is null says less than that it was no number.
        raise _refusal(told, _lost(data, arrived) or str(error)) from error
    except Exception as error:  # the application's own `from_data` or `__post_init__`
        raise _refusal(told, f"making a job of its data has raised {_raised(error)}") from error


def _refuse_loss(told: str, data: object, arrived: Envelope) -> None:
    lost = _lost(data, arrived)
    if lost is not None:
        raise _refusal(told, lost)


def _lost(data: object, envelope: Envelope) -> str | None:
    """What JSON has lost of some data, leaving aside what it writes as text; None where that is nothing."""
    try:
        arrived = envelope.data
        if arrived == data:
            return None
        plain = msgspec.to_builtins(data, enc_hook=_decoded)
    except RecursionError:
        return TOO_DEEP
    except (*UNWRITABLE, UnreadablePayload) as error:
        return str(error)
    except Exception as error:  # of a value that is compared
        return f"comparing it with what would arrive has raised {_raised(error)}"
    return difference(plain, arrived, "" if isinstance(plain, dict) else "data", by_type=False)


def _decoded(value: object) -> object:
    """What somebody has written as JSON already."""
    if isinstance(value, msgspec.Raw):
        return read_json(value)
    raise TypeError(f"objects of type {type(value).__qualname__} can't be written as JSON")


def _compare(job: Job, came: Job, shape: Shape, others: Collection[str]) -> None:
    name = ""
    try:
        for name, takes in shape.takes.items():
            sent, arrived = getattr(job, name), getattr(came, name)
            if sent is arrived or is_plainly_same(sent, arrived):
                continue
            why = difference(sent, arrived, name)
            if why is not None:
                raise _refusal(shape.path, f"{why}; the field `{name}` takes {takes}")
        for name in others:
            if name not in OF_ONE_JOB and not name.startswith("_") and not _is_made_anew(job, came, name):
                raise _refusal(shape.path, f"`{name}` is no field, and would not arrive: give it a type in the class")
    except InvalidPayload:
        raise
    except Exception as error:  # of a value that is compared
        why = f"comparing `{name}` with what would arrive has raised {_raised(error)}"
        raise _refusal(shape.path, why) from error


def _is_made_anew(job: Job, came: Job, name: str) -> bool:
    """Whether an attribute that does not travel is there again: computed when it is asked for, or by the class."""
    if isinstance(inspect.getattr_static(type(job), name, None), cached_property):
        return True
    sent, arrived = vars(job)[name], vars(came).get(name)
    if isinstance(sent, DATA):
        return name in vars(came) and difference(sent, arrived, name) is None
    return type(sent) is type(arrived)  # a lock, say


def _check_policy(job: Job, shape: Shape, others: Collection[str]) -> None:
    if OF_ONE_JOB.isdisjoint(others):
        return
    try:
        check_values(job, shape.path)
    except ConfigError as error:
        raise InvalidPayload(str(error)) from error


def _unwritable(values: Mapping[Any, Any], error: Exception, hook: Callable[[object], object] | None = None) -> str:
    """Which of some values JSON can't hold, and why; `error` where each of them could be written by itself."""
    for name, value in values.items():
        try:
            msgspec.json.encode(msgspec.to_builtins(value, enc_hook=hook))
        except RecursionError:
            return f"`{name}` is nested too deep, or holds itself"
        except Exception as reason:
            return f"`{name}` can't be written as JSON: {_why(reason)}"
    return _why(error)


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "a text holds half a surrogate pair"
    if isinstance(error, RecursionError):
        return TOO_DEEP
    return str(error) if isinstance(error, UNWRITABLE) else f"writing it has raised {_raised(error)}"


def _raised(error: Exception) -> str:
    return f"{name_of(error)}: {text_of(error)}"  # its text is the application's own code, too


def _unregistered(cls: type[Job], entry: "Entry | None") -> str:
    name = cls.wire_name()
    if entry is not None:
        return (
            f"{path_of(cls)} was not dispatched: a worker would run {path_of(entry.cls)} in its place, which is "
            f"registered as {name!r}. Give {cls.__qualname__} a `name` of its own, and register it, too."
        )
    return (
        f"{path_of(cls)} was not dispatched: no worker of this application knows {name!r}. Put the class into "
        f"app/Jobs, or register it in a service provider or a test: "
        f"`app.make(Registry).register({cls.__qualname__})`. If another application runs it, say "
        f"`runs_elsewhere = True` in the class, or dispatch it as a string job: `Dispatcher.push({name!r}, data)`."
    )


def _refusal(told: str, why: str) -> InvalidPayload:
    return InvalidPayload(f"{told} was not dispatched, since no worker could read it as it is: {why.rstrip('.')}.")


def _takes(cls: Any) -> Mapping[str, str]:
    """The types of a class's fields in words; none where it has no fields."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return {
        field.name: field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
        for field in fields
    }
