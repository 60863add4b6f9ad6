"""Environment variables, by Laravel's rules."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from dotenv.parser import parse_stream

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
        ConfigError: the file is no text, or has a line that says nothing.
    """
    candidates = [f".env.{name}"] if name else []
    for candidate in [*candidates, ".env"]:
        path = base_path / candidate
        if path.is_file():
            try:
                _check(path)
                load_dotenv(path, override=False)
            except UnicodeDecodeError as error:
                raise ConfigError(f"{candidate} can't be read: {error}. Save it as UTF-8.") from error
            return candidate
    return None


def _check(path: Path) -> None:
    # What is left out would have its default: a worker would run, on other brokers than are written there.
    with path.open(encoding="utf-8") as file:
        wrong = next((binding.original.line for binding in parse_stream(file) if binding.error), None)
    if wrong is not None:
        raise ConfigError(f"{path.name} can't be read: line {wrong} is no NAME=value, or its quote has no end.")
