"""The console's own commands: `list` and `help`."""

from enum import Enum
from typing import Annotated

import typer
import typer.core

from lamplighter.console.command import Command
from lamplighter.console.group import argument_name, typer_command, usage
from lamplighter.console.listing import columns, commands_by_name, find, section, show_overview
from lamplighter.console.options import OPTION_HELP
from lamplighter.support.provider import CommandTable

Prefix = Annotated[str | None, typer.Argument(help="Only the commands of this prefix, such as queue")]
CommandName = Annotated[str | None, typer.Argument(help="The name of the command")]


class ListCommand(Command):
    """List the commands, all of them or those of one prefix."""

    name = "list"
    description = "List the commands"

    def __init__(self, table: CommandTable) -> None:
        self._commands = commands_by_name(table)

    def handle(self, prefix: Prefix = None) -> None:
        show_overview(self.output, self._commands, prefix)


class HelpCommand(Command):
    """Show how a command is used; without a name, all commands."""

    name = "help"
    description = "Show how a command is used"

    def __init__(self, table: CommandTable) -> None:
        self._commands = commands_by_name(table)

    def handle(self, command_name: CommandName = None) -> None:
        if command_name is None:
            show_overview(self.output, self._commands)
            return
        entry = find(self._commands, command_name)
        command = typer_command(entry)
        lines = section(self.output, "Description", [entry.description])
        lines += section(self.output, "Usage", [usage(command)])
        arguments = [_argument(each) for each in command.params if isinstance(each, typer.core.TyperArgument)]
        options = [
            _option(each) for each in command.params if isinstance(each, typer.core.TyperOption) and not each.hidden
        ]
        rows = columns(self.output, [*arguments, *options, *OPTION_HELP])
        if arguments:
            lines += section(self.output, "Arguments", rows[: len(arguments)])
        lines += section(self.output, "Options", rows[len(arguments) :])
        self.output.write("\n".join(lines))


def _argument(parameter: typer.core.TyperArgument) -> tuple[str, str]:
    return argument_name(parameter), _help(parameter)


def _option(parameter: typer.core.TyperOption) -> tuple[str, str]:
    names = ", ".join(sorted(parameter.opts, key=len))
    indent = "    " if names.startswith("--") else ""
    longest = max(parameter.opts, key=len).strip("-").replace("-", "_").upper()
    value = "" if parameter.is_flag else f"={parameter.metavar or longest}"
    return f"{indent}{names}{value}", _help(parameter)


def _help(parameter: typer.core.TyperArgument | typer.core.TyperOption) -> str:
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    nothing = default is None or default is False or default in ("", [], ()) or callable(default)
    return " ".join(text for text in (parameter.help, "" if nothing else f"[default: {default}]") if text)
