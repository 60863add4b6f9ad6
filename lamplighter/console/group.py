"""Typer's side of the console: command lines are parsed here, and a command is imported when its line is parsed."""

import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import typer
import typer.core
import typer.main
from typer.exceptions import TyperException

from lamplighter.console.command import Command
from lamplighter.console.listing import find
from lamplighter.console.options import is_global
from lamplighter.errors import ConfigError, ConsoleError
from lamplighter.support.provider import CommandEntry
from lamplighter.support.strings import is_utf8
from lamplighter.support.unrun import discard


@dataclass(frozen=True)
class Call:
    """A command line that was understood: the command, and what its `handle` is given."""

    command: type[Command]
    arguments: Mapping[str, Any]


class CommandGroup(typer.core.TyperGroup):
    """All commands by name, of which only the one that is asked for is imported."""

    def __init__(self, entries: Mapping[str, CommandEntry]) -> None:
        # Typer's own help is off: -h and --help are global options.
        super().__init__(name="artisan", rich_markup_mode=None, add_help_option=False)
        self._entries = entries
        self._usage = "<command> [options] [arguments]"

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str, typer.core.TyperCommand, list[str]]:
        """The command that a line names, and what stands behind the name."""
        entry = find(self._entries, args[0])
        command = typer_command(entry)
        self._usage = usage(command)
        return entry.name, command, args[1:]

    def parse(self, argv: Sequence[str]) -> Call:
        """Understand a command line.

        Raises:
            ConsoleError: it is wrong; the message says where, and how the command is used.
        """
        try:
            with self.make_context("artisan", list(argv)) as context:
                return cast(Call, self.invoke(context))
        except TyperException as error:
            raise ConsoleError(f"{_explain(error)}\nUsage: {self._usage}") from error


def typer_command(entry: CommandEntry) -> typer.core.TyperCommand:
    """Typer's view of a command: the parameters of its `handle` are its arguments and options.

    Raises:
        ConfigError: an option of it has the name of one that all commands have, and would never reach it.
    """
    command_class = load(entry)

    def call(**arguments: Any) -> Call:
        for name, value in arguments.items():
            for one in value if isinstance(value, list | tuple) else [value]:
                # It is neither more nor less than any limit.
                if isinstance(one, float) and math.isnan(one):
                    raise typer.BadParameter(f"'{name}' is no number.")
                # No broker and no database takes it; a path may be any bytes.
                if isinstance(one, str) and not is_utf8(one):
                    raise typer.BadParameter(f"'{name}' is no UTF-8.")
        return Call(command_class, arguments)

    signature = inspect.signature(command_class.handle, eval_str=True)
    vars(call)["__signature__"] = signature.replace(parameters=list(signature.parameters.values())[1:])
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(entry.name, help=entry.description, add_help_option=False)(call)
    command = cast(typer.core.TyperCommand, typer.main.get_command(app))
    for parameter in command.params:
        parameter.secondary_opts = []  # a flag has no `--no-` twin
        shadowed = [
            name for name in parameter.opts if isinstance(parameter, typer.core.TyperOption) and is_global(name)
        ]
        if shadowed:
            raise ConfigError(
                f"The command {entry.name} ({entry.target}) declares the option {shadowed[0]}, which all commands have "
                f"and it would never get. Give it another name."
            )
    return command


def run(command: Command, arguments: Mapping[str, Any]) -> int:
    """Call a command; its exit code. What Typer offers to end one, `typer.Exit` and the like, means here what it says.

    Raises:
        ConsoleError: the command was aborted, or refused one of its parameters.
        ConfigError: it has returned what is no exit code.
    """
    try:
        result = command.handle(**arguments)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort as error:
        raise ConsoleError("Aborted.") from error
    except TyperException as error:
        raise ConsoleError(error.format_message()) from error
    if result is None:
        return 0
    # A system keeps eight bits of it, of which 256 leaves none.
    if not isinstance(result, int) or not 0 <= result <= 255:
        discard(result)
        raise ConfigError(
            f"The command {command.name} has returned {result!r}; what handle() returns is the exit code, 0 to 255, or "
            f"None for 0."
        )
    return int(result)


def load(entry: CommandEntry) -> type[Command]:
    """The class that an entry of the command table names.

    Raises:
        ConfigError: there is no command class of that name, or its module breaks.
    """
    module_name, _, class_name = entry.target.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"The command {entry.name} ({entry.target}) can't be imported: {why}.") from error
    if not (isinstance(found, type) and issubclass(found, Command)):
        raise ConfigError(f"The command {entry.name} should be {entry.target}, but that is no Command class.")
    return found


def usage(command: typer.core.TyperCommand) -> str:
    """How a command is called: its name, then `<argument>`, in brackets what may be left out."""
    words = [command.name or ""]
    if any(isinstance(parameter, typer.core.TyperOption) for parameter in command.params):
        words.append("[options]")
    for parameter in command.params:
        if isinstance(parameter, typer.core.TyperArgument):
            word = f"<{argument_name(parameter)}>" + ("..." if parameter.nargs == -1 else "")
            words.append(word if parameter.required else f"[{word}]")
    return " ".join(words)


def argument_name(argument: typer.core.TyperArgument) -> str:
    """What an argument is called on the screen."""
    return (argument.metavar or argument.name or "").lower()


def _explain(error: TyperException) -> str:
    close: Sequence[str] | None = getattr(error, "possibilities", None)
    if not close:
        return error.format_message()
    return f"{error.message}. Did you mean {' or '.join(close)}?"
