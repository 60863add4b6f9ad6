"""Where an error ends that nobody else deals with."""

import logging
import sys
import traceback

from lamplighter.console.options import GlobalOptions
from lamplighter.console.output import Output
from lamplighter.errors import ConsoleError, LamplighterError

log = logging.getLogger(__name__)


class Handler:
    """Logs errors, and shows them as one line; `-v` shows the trace."""

    def report(self, error: BaseException) -> None:
        """Write an error into the log, at DEBUG with its trace; one that explains itself is no event of its own."""
        if not isinstance(error, LamplighterError):
            log.error("an error was not handled", extra={"error": _told(error)})
        log.debug("its trace", exc_info=error)

    def render(self, error: BaseException, *, verbosity: int) -> int:
        """Show an error on stderr; the exit code that it stands for."""
        explains_itself = isinstance(error, LamplighterError)
        text = str(error) if explains_itself else _told(error)
        if verbosity < 1 and not explains_itself:
            text += "\nRun it again with -v to see where it comes from."
        Output.for_terminal(GlobalOptions(verbosity=verbosity)).error(text)
        if verbosity >= 1:
            traceback.print_exception(error, file=sys.stderr)
        return error.exit_code if isinstance(error, ConsoleError) else 1


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
