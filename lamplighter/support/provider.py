"""Service providers: where each part says what it brings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lamplighter.contracts import Application, Config
from lamplighter.support.discovery import load_settings


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command that is imported when it is run.

    Attributes:
        target: `package.module:ClassName`.
        is_destructive: what it takes away nothing brings back, so that it is proposed for no other word. One that takes
            away more than it is told by name asks in production (`confirm_in_production`).
        is_hidden: programs run it, and no list of commands shows it.
    """

    name: str
    description: str
    target: str
    is_destructive: bool = False
    is_hidden: bool = False


class CommandTable:
    """The commands of an application."""

    def __init__(self) -> None:
        self._entries: dict[str, CommandEntry] = {}

    def add(self, entry: CommandEntry) -> None:
        """Add a command; one of the same name takes the place of the older."""
        self._entries[entry.name] = entry

    def entries(self) -> list[CommandEntry]:
        """All commands, by name."""
        return [self._entries[name] for name in sorted(self._entries)]


class ServiceProvider:
    """One part of the application: `register` binds, `boot` uses what others have bound."""

    boot: ClassVar[Callable[..., object] | None] = None

    def __init__(self, app: Application) -> None:
        self.app = app

    def register(self) -> None:
        """Bind; nothing may be made here, since other providers have not bound theirs yet."""

    def merge_config_from(self, path: Path | str, key: str) -> None:
        """Put a file's settings under the application's own of the same key, which win; a missing file is no error.

        A relative path begins at the application's base path.
        """
        file = self.app.path(str(path))
        if file.is_file():
            config = self.app.make(Config)
            config.set(key, merged(load_settings(file), config.mapping(key, {})))

    def commands(self, *entries: CommandEntry) -> None:
        """Add commands to the application."""
        table = self.app.make(CommandTable)
        for entry in entries:
            table.add(entry)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings as one, key by key at every depth; `above` wins."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
