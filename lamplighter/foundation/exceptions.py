"""Where an error ends that nobody else deals with."""

import logging
import sys
import traceback

from lamplighter.errors import ConsoleError, LamplighterError

log = logging.getLogger(__name__)


class Handler:
    """Logs errors, and shows them as one line; `-v` shows the trace."""

    def report(self, error: BaseException) -> None:
        """Write an error into the log, with its trace unless it explains itself."""
        if isinstance(error, LamplighterError):
            log.debug("a command ended with an error", exc_info=error)
        else:
            log.error("an error was not handled", exc_info=error)

    def render(self, error: BaseException, *, verbosity: int) -> int:
        """Show an error on stderr; the exit code that it stands for."""
        name = "" if isinstance(error, LamplighterError) else f"{type(error).__name__}: "
        sys.stderr.write(f"\n   ERROR  {name}{error}\n\n")
        if verbosity >= 1:
            traceback.print_exception(error)
        elif not isinstance(error, LamplighterError):
            sys.stderr.write("  Run it again with -v to see where it comes from.\n\n")
        return error.exit_code if isinstance(error, ConsoleError) else 1
