"""Values as text: what PHP writes for integers, text and booleans, and JSON of our own for the rest."""

import json
import re
from typing import Any

from lamplighter.errors import CacheError

MARK = "json:"
_INTEGER = re.compile(r"i:(-?\d+);")
_BOOLEAN = re.compile(r"b:([01]);")
_TEXT = re.compile(r's:(\d+):"(.*)";', re.DOTALL)


def dump(key: str, value: object) -> str:
    """A value as a file keeps it; PHP reads integers, booleans and text.

    Raises:
        CacheError: it would come back as something else.
    """
    return dump_for_php(value) or MARK + dump_json(key, value)


def dump_for_php(value: object) -> str | None:
    """An integer, a boolean or a text as PHP serializes it; None for anything else."""
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value:d};"
    if isinstance(value, str):
        try:
            return f's:{len(value.encode())}:"{value}";'
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
            return None
    return None


def dump_json(key: str, value: object) -> str:
    """A value as JSON.

    Raises:
        CacheError: it would come back as something else, as a tuple does.
    """
    try:
        text = json.dumps(value, allow_nan=False)
        if json.loads(text) == value:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    raise CacheError(
        f"The cache can't keep a {type(value).__name__} under {key!r}: what it has in it would come back as something "
        f"else. It keeps text, finite numbers, booleans, null, lists of these, and dictionaries of these by text."
    )


def load(text: str) -> Any:
    """The value of such text; None where it is something else, a serialized object among it."""
    if text.startswith(MARK):
        return load_json(text.removeprefix(MARK))
    try:
        return _load_php(text)
    except ValueError:  # more digits than Python reads
        return None


def load_json(text: str) -> Any:
    """The value of JSON; None where it is none, or nested deeper than Python reads."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_number(key: str, value: object) -> int:
    """What `increment` adds to; a miss is 0.

    Raises:
        CacheError: the value is no whole number.
    """
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise CacheError(f"The cache has a {type(value).__name__} under {key!r}, which can't be incremented.")


def _load_php(text: str) -> Any:
    if match := _INTEGER.fullmatch(text):
        return int(match[1])
    if match := _BOOLEAN.fullmatch(text):
        return match[1] == "1"
    if (match := _TEXT.fullmatch(text)) and len(match[2].encode()) == int(match[1]):
        return match[2]
    return None
