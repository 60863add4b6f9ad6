"""`config:show`: what the configuration comes to, without its secrets."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Application, Config
from lamplighter.errors import ConsoleError
from lamplighter.support.strings import MASK, did_you_mean, mask_secrets

Key = Annotated[str | None, typer.Argument(help="A section or a dotted key: queue, queue.connections.kafka")]


class ConfigShowCommand(Command):
    """Show the configuration, without its secrets."""

    name = "config:show"
    description = "Show the configuration, without its secrets"

    def __init__(self, app: Application, config: Config) -> None:
        self._app = app
        self._config = config

    def handle(self, key: Key = None) -> None:
        if key is not None:
            self._show(key)
            return
        for section in self._sections():
            self._show(section)

    def _show(self, key: str) -> None:
        value = self._masked(key)
        self.output.line()
        if not isinstance(value, Mapping):
            self.output.two_column(key, _text(value))
        else:
            self.output.line(f"  {self.output.paint('title', key)}")
            for name, entry in _flat(value):
                self.output.two_column(name, _text(entry))

    def _masked(self, key: str) -> Any:
        # Masked from the section down, so that a key below a secret one is as hidden as the whole.
        section, *below = key.split(".")
        value = mask_secrets(self._config.get(section), section)
        for name in below:
            if value == MASK:
                break
            value = value.get(name) if isinstance(value, Mapping) else None
        if not self._config.has(key):
            near = did_you_mean(section, self._sections())
            hint = f" Did you mean {' or '.join(near)}?" if near and near != [section] else ""
            raise ConsoleError(f"The configuration has no {key!r}.{hint}")
        return value

    def _sections(self) -> list[str]:
        names = sorted(path.stem for path in self._app.path("config").glob("*.py"))
        return [name for name in names if self._config.has(name)]


def _flat(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value)
