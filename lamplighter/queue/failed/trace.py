"""An error as the failed-job store keeps it: with its trace, without the values that its functions held."""

import re
import traceback

MAX_BYTES = 16 * 1024
UNPRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but the ends of lines and tabs
CUT = "\n… {count} bytes left out …\n"


def message(error: BaseException) -> str:
    """What an error says, as UTF-8 can carry it; an error whose own text raises says that."""
    text = str(traceback.TracebackException(type(error), error, None))
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(error: BaseException) -> str:
    """The error as a log line tells it."""
    return f"{type(error).__name__}: {message(error)}".splitlines()[0][:500]


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as has `limit` bytes."""
    return text.encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore")


def format_trace(error: BaseException, *, limit: int = MAX_BYTES) -> str:
    """The error and what led to it, at most 16 kB, both ends kept; ready for every database and screen."""
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    text = UNPRINTED.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        half = max(0, limit - 64) // 2
        middle = CUT.format(count=len(data) - 2 * half).encode()
        data = data[:half] + middle + data[len(data) - half :]
    return data.decode("utf-8", "ignore")
