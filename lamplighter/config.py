"""Settings by dotted key, read from config/*.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamplighter.errors import ConfigError
from lamplighter.support.discovery import is_hidden, load_settings

KINDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false", Mapping: "a dictionary"}
_MISSING = object()


class Repository:
    """The settings of an application."""

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items: dict[str, Any] = dict(items or {})

    def all(self) -> dict[str, Any]:
        """Every section, by its file's name."""
        return self._items

    def has(self, key: str) -> bool:
        """Whether there is a value, be it None."""
        return self._find(key) is not _MISSING

    def get(self, key: str, default: object = None) -> Any:
        """The value, or the default where there is none."""
        found = self._find(key)
        return default if found is _MISSING else found

    def set(self, key: str, value: object) -> None:
        """Put a value, making the sections above it."""
        *above, last = key.split(".")
        section = self._items
        for name in above:
            inner = section.get(name)
            if not isinstance(inner, dict):
                inner = section[name] = dict(inner) if isinstance(inner, Mapping) else {}
            section = inner
        section[last] = value

    def string(self, key: str, default: str | None = None) -> str:
        """A text."""
        value = self._typed(key, default, str)
        return str(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; text from the environment is read as one."""
        value = self.get(key, default)
        if isinstance(value, str) and value.removeprefix("-").isdecimal():
            return int(value)
        return int(self._typed(key, default, int))

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """True or false; 1 and 0 from the environment are read as these."""
        value = self.get(key, default)
        return value == "1" if value in ("0", "1") else bool(self._typed(key, default, bool))

    def mapping(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A section."""
        return dict(self._typed(key, default, Mapping))

    def _typed(self, key: str, default: object, kind: Any) -> Any:
        value = self.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            # Never the value itself, which may be a secret.
            given = "nothing" if value is None else f"a {type(value).__name__}"
            section, _, below = key.partition(".")
            place = f"the key {below!r} of config/{section}.py" if below else f"config/{section}.py"
            raise ConfigError(f"The setting {key!r}, {place}, has to be {KINDS[kind]}, and is {given}.")
        return value

    def _find(self, key: str) -> Any:
        value: Any = self._items
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return _MISSING
            value = value[name]
        return value


def load_config(folder: Path) -> Repository:
    """The settings of every file in a folder that is not hidden; each has one dictionary named `config`.

    Raises:
        ConfigError: a file breaks or has no such dictionary.
    """
    files = [path for path in sorted(folder.glob("*.py")) if path.stem != "__init__" and not is_hidden([path.name])]
    return Repository({path.stem: load_settings(path) for path in files})
