"""The headers of a record, read and sent so that no name of one can end the process."""

import gc
import logging
from operator import methodcaller
from typing import Any

from lamplighter.contracts import Headers

log = logging.getLogger(__name__)

# Stands for the name of a header that is no UTF-8, with what is known of that name behind a colon.
UNREADABLE = "x-unreadable-name"
# By this, since `message.headers()` in a line that runs often is a call of CPython's that looks for no error: the error
# would be raised by whatever comes next.
ask_for_headers = methodcaller("headers")
MAX_NAME = 255  # characters of such a name, and of the log's list of them


def headers_of(message: Any) -> Headers:
    """The headers of a message that confluent-kafka gave; every one of its readers asks here.

    A header whose name is no UTF-8 keeps its value, under a name that begins with `x-unreadable-name`. The log tells
    the position, once for a message.

    To Kafka a header's name is any bytes; to confluent-kafka (2.16) it is text. Where it can't decode a name it makes
    its list all the same, with nothing at all in the name's place, and raises SystemError. Asked again it returns that
    list, and whoever then looks at the name ends the interpreter with SIGSEGV.
    """
    error: Exception | None = None
    try:
        headers = ask_for_headers(message)
    except (SystemError, UnicodeDecodeError) as unreadable:
        headers, error = _headers_made(message), unreadable
    if not headers:
        return ()
    # Nothing in the place of a name is no object that a pair refers to. Another thread may have met the error.
    if error is None and len(gc.get_referents(*headers)) == 2 * len(headers):
        return headers  # type: ignore[no-any-return]
    readable = _readable(headers, _first_name(error))
    message.set_headers(readable)
    log.warning(
        "a record has headers whose names are no UTF-8; their values are kept under another name",
        extra={
            "position": f"{message.topic()}[{message.partition()}]@{message.offset()}",
            "headers": ", ".join(name for name, _ in readable if name.startswith(UNREADABLE))[:MAX_NAME],
        },
    )
    return readable


def to_send(headers: Headers) -> list[tuple[str, str | bytes | None]] | None:
    """Headers as confluent-kafka takes them; None where there are none.

    Half of a surrogate pair in a name makes the client (2.16) end the interpreter, and it cuts a name at a NUL.

    Raises:
        ValueError: a name can't be sent.
    """
    for name, _ in headers:
        name.encode()
        if "\0" in name:
            raise ValueError(f"there is a NUL in the name {name!r}")
    return list(headers) or None


def _headers_made(message: Any) -> Any:
    """What the client has made of the headers before it raised; one empty pair where it gives nothing."""
    try:
        return ask_for_headers(message) or [()]
    except (SystemError, UnicodeDecodeError):
        return [()]


def _readable(headers: Any, first: str) -> list[tuple[str, bytes | None]]:
    readable: list[tuple[str, bytes | None]] = []
    for pair in headers:
        if len(gc.get_referents(pair)) == 2:
            readable.append(pair)
            continue
        readable.append((UNREADABLE + first, pair[1] if pair else None))
        first = ""
    return readable


def _first_name(error: BaseException | None) -> str:
    """The first of the names as far as ASCII can show it, behind a colon; the client tells no other."""
    while error is not None and not isinstance(error, UnicodeDecodeError):
        error = error.__cause__
    return "" if error is None else ":" + bytes(error.object).decode("ascii", "backslashreplace")[:MAX_NAME]
