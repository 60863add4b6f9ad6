"""Environment variables, by Laravel's rules."""

import os
import re
from collections.abc import Callable
from typing import Any

from lamplighter.errors import ConfigError
from lamplighter.support.strings import is_secret

WORDS: dict[str, Any] = {
    "true": True,
    "(true)": True,
    "false": False,
    "(false)": False,
    "null": None,
    "(null)": None,
    "empty": "",
    "(empty)": "",
}
_QUOTED = re.compile(r"(['\"])(.*)\1")  # on one line, as Laravel's


def env(name: str, default: Any = None, *, cast: Callable[[str], Any] | None = None) -> Any:
    """A variable's value; the default only where there is none. Numbers stay text unless `cast` reads them.

    Raises:
        ConfigError: `cast` can't read the value.
    """
    value = os.environ.get(name)
    if value is None:
        return default
    read = meaning(value)
    if cast is None or not isinstance(read, str) or value.lower() in WORDS:
        return read
    try:
        return cast(read)
    except (ValueError, TypeError, ArithmeticError) as error:  # as int, json.loads and Decimal refuse a text
        shown = "" if is_secret(name) else f" is {read!r}, which"
        kind = getattr(cast, "__name__", "value")
        raise ConfigError(f"The variable {name}{shown} is no {kind}.") from (None if is_secret(name) else error)


def meaning(value: str) -> Any:
    """What the text of a variable stands for: true, null and the like, else the text without quotes around it."""
    word = value.lower()
    if word in WORDS:
        return WORDS[word]
    quoted = _QUOTED.fullmatch(value)
    return quoted[2] if quoted else value
