"""The base class of every command, and the question that guards production."""

from collections.abc import Callable
from typing import ClassVar

from lamplighter.console.output import Output
from lamplighter.support.environment import is_production


class Command:
    """One artisan command.

    A subclass writes `handle`, whose parameters are the command's arguments (those without a default) and options
    (those with one); `Annotated[..., typer.Option(help=...)]` says more about one. A `bool` is a flag. It returns the
    exit code, where None is 0. Services are asked for in `__init__`, and the container gives them. No option can have
    the name of one that every command has, such as `-n`, `-v` or `--env`.
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""

    handle: Callable[..., int | None]
    output: Output  # set by the kernel before `handle` is called


def confirm_in_production(output: Output, environment: str, *, force: bool) -> bool:
    """Whether a dangerous command may go on: in production only by `--force`, or by a yes on the screen.

    When it may not, it has said so, and the command returns 1.
    """
    if force or not is_production(environment):
        return True
    if not output.interactive:
        output.error("The application is in production. Add --force to run this command without being asked.")
    else:
        output.warn("The application is in production.")
        if output.confirm("Are you sure you want to run this command?"):
            return True
    output.warn("Command cancelled.")
    return False
