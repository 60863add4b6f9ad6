"""Environment variables, by Laravel's rules."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dotenv import load_dotenv

from lamplighter.errors import ConfigError

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


def env(name: str, default: Any = None, *, cast: Callable[[str], Any] | None = None) -> Any:
    """A variable's value; the default only where there is none. Numbers stay text unless `cast` reads them.

    Raises:
        ConfigError: `cast` can't read the value.
    """
    value = os.environ.get(name)
    if value is None:
        return default
    word = value.lower()
    if word in WORDS:
        return WORDS[word]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if cast is None:
        return value
    try:
        return cast(value)
    except ValueError as error:
        raise ConfigError(
            f"The variable {name} is {value!r}, which is no {getattr(cast, '__name__', 'value')}."
        ) from error


def load_environment(base_path: Path, name: str | None) -> str | None:
    """Read `.env.{name}` if it exists, else `.env`; what the real environment says wins. The file's name, if any.

    Raises:
        ConfigError: the file is no text.
    """
    candidates = [f".env.{name}"] if name else []
    for candidate in [*candidates, ".env"]:
        path = base_path / candidate
        if path.is_file():
            try:
                load_dotenv(path, override=False)
            except UnicodeDecodeError as error:
                raise ConfigError(f"{candidate} can't be read: {error}. Save it as UTF-8.") from error
            return candidate
    return None
