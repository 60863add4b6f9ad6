"""Looks at errors of others' classes: none of these functions raises, whatever the class hides behind a name."""

import re
from collections.abc import Iterator

UNKNOWN = "unknown"  # in the place of a module or a name that is no text
UNTOLD = "<exception str() failed>"  # as Python's traceback says it
LONGEST = 255  # characters of a module or a name
UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Python's own ways to these, which a metaclass or a class can't replace.
_module = type.__dict__["__module__"].__get__
_name = type.__dict__["__name__"].__get__
_qualname = type.__dict__["__qualname__"].__get__
_bases = type.__dict__["__mro__"].__get__
_cause = BaseException.__dict__["__cause__"].__get__
_context = BaseException.__dict__["__context__"].__get__
_hides_context = BaseException.__dict__["__suppress_context__"].__get__


def name_of(error: BaseException) -> str:
    """The name of an error's class."""
    return _as_name(_name(type(error)))


def path_of(error: BaseException) -> tuple[str, str]:
    """The module of an error's class, and its qualified name there."""
    kind = type(error)
    try:
        module = _module(kind)
    except AttributeError:  # it was deleted
        module = None
    return _as_name(module), _as_name(_qualname(kind))


def base_names(error: BaseException) -> Iterator[str]:
    """The names of an error's class and of those that it derives from."""
    return (_as_name(_name(kind)) for kind in _bases(type(error)))


def is_a(error: object, kind: type) -> bool:
    """Whether it is of this class, whatever it says of its class itself."""
    return issubclass(type(error), kind)


def text_of(error: BaseException) -> str:
    """What an error says."""
    try:
        return str.__str__(str(error))  # a text of a class of its own may do anything
    except BaseException:
        return UNTOLD


def attribute(error: BaseException, name: str) -> object:
    """What an error has under a name; None where it has nothing, or refuses it."""
    try:
        return getattr(error, name, None)
    except BaseException:
        return None


def is_true(value: object) -> bool:
    """Whether a value counts as true; not where it refuses to say so."""
    try:
        return bool(value)
    except BaseException:
        return False


def as_text(value: object) -> str:
    """A text as Python's own; an empty one for what is none."""
    return str.__str__(value) if is_a(value, str) else ""


def as_integer(value: object) -> int:
    """An integer as Python's own; 0 for what is none."""
    return int.__int__(value) if is_a(value, int) else 0  # type: ignore[arg-type]


def cause_of(error: BaseException) -> BaseException | None:
    """What an error was raised from."""
    cause: BaseException | None = _cause(error)
    return cause


def context_of(error: BaseException) -> BaseException | None:
    """What was dealt with when an error was raised."""
    context: BaseException | None = _context(error)
    return context


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, as a trace shows them, the newest first; each one once."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        cause = cause_of(step)
        step = cause if cause is not None or _hides_context(step) else context_of(step)


def _as_name(value: object) -> str:
    text = as_text(value)[:LONGEST].encode("utf-8", "backslashreplace").decode()
    return UNPRINTED.sub(lambda found: f"\\x{ord(found[0]):02x}", text) or UNKNOWN
