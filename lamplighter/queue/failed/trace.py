"""An error as the failed-job store keeps it: with its trace, without the values that its functions held."""

import re
import traceback

from lamplighter.errors import HandlerError

MAX_BYTES = 16 * 1024
UNPRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but the ends of lines and tabs
CUT = "\n… {count} bytes left out …\n"


def message(error: BaseException) -> str:
    """What an error says, as UTF-8 can carry it; an error whose own text raises says that."""
    try:
        text = str(traceback.TracebackException(type(error), error, None))
    except Exception as why:  # a class of an error may hide anything behind the names that Python looks at
        text = f"<it can't be told: {type(why).__name__}>"
    return as_utf8(text)


def as_utf8(text: object) -> str:
    """A text without what UTF-8 can't carry: half surrogate pairs, as undecodable file names have them."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def tellable(error: BaseException) -> BaseException:
    """The error itself; in the place of one that can't be looked at, one that names its class.

    Its class may hide anything behind the names that Python, logging and the worker look at. They are looked at here,
    while the job has a deadline: that is code of whoever wrote the class, and may hang.
    """
    try:
        traceback.TracebackException.from_exception(error, lookup_lines=False)  # reads its text, too
        is_itself = error.__class__ is type(error) and bool(error) in (True, False)
    except Exception as why:
        return HandlerError(f"{_name(error)} was raised, and can't be looked at: {type(why).__name__}.")
    return error if is_itself else HandlerError(f"{_name(error)} was raised, and says that it is of another class.")


def _name(error: BaseException) -> str:
    kind = type(error)
    return as_utf8(f"{kind.__module__}.{kind.__qualname__}")


def one_line(error: BaseException) -> str:
    """The error as a log line tells it."""
    return f"{type(error).__name__}: {message(error)}".splitlines()[0][:500]


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as has `limit` bytes."""
    return text.encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore")


def format_trace(error: BaseException, *, limit: int = MAX_BYTES) -> str:
    """The error and what led to it, at most 16 kB, both ends kept; ready for every database and screen."""
    try:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    except Exception:  # what has no trace that can be told is recorded all the same
        text = f"{type(error).__name__}: {message(error)}\n"
    text = UNPRINTED.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        half = max(0, limit - 64) // 2
        middle = CUT.format(count=len(data) - 2 * half).encode()
        data = data[:half] + middle + data[len(data) - half :]
    return data.decode("utf-8", "ignore")
