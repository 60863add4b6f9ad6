"""An error as the failed-job store keeps it: with its trace, without the values that its functions held."""

import re
import traceback

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


def read_text(error: BaseException) -> None:
    """Have an error say its text while its job has a deadline: that is code of whoever wrote it, and may hang."""
    message(error)


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
