"""Where an error ends that nobody else deals with."""

import logging
import sys

from lamplighter.console.options import GlobalOptions
from lamplighter.console.output import Output
from lamplighter.contracts import Container, DatabaseErrors
from lamplighter.database.errors import is_missing_table
from lamplighter.errors import ConsoleError, LamplighterError
from lamplighter.queue.failed.trace import message, notes_of, tellable
from lamplighter.support.foreign import name_of

log = logging.getLogger(__name__)


class Handler:
    """Logs errors, and shows them as one line; `-v` shows the trace."""

    def __init__(self, app: Container | None = None) -> None:
        """`app` knows, where it has one, what an error of the database means."""
        self._app = app

    def report(self, error: BaseException) -> None:
        """Write an error into the log, at DEBUG with its trace; one that explains itself is no event of its own.

        Nor is one that the log would show where `render` shows it.
        """
        error = tellable(error)
        if self._explained(error) is None and not _is_on_screen(log):
            log.error("an error was not handled", extra={"error": _told(error)})
        log.debug("its trace", exc_info=error)

    def render(self, error: BaseException, *, verbosity: int) -> int:
        """Show an error on stderr; the exit code that it stands for."""
        error = tellable(error)
        text = self._explained(error)
        if text is None:
            text = "\n".join([_told(error), *notes_of(error)])
            if verbosity < 1:
                text += "\nRun it again with -v to see where it comes from."
        output = Output.for_terminal(GlobalOptions(verbosity=verbosity))
        output.error(text)
        if verbosity >= 1:
            output.trace(error)
        return error.exit_code if isinstance(error, ConsoleError) else 1

    def _explained(self, error: BaseException) -> str | None:
        """What a person is told who can't mend our code; None for what only its trace explains."""
        if isinstance(error, LamplighterError):
            return message(error)
        if self._app is not None and self._app.has(DatabaseErrors):
            errors: DatabaseErrors = self._app.make(DatabaseErrors)
            if errors.is_lost_connection(error):
                return f"The database does not answer: {_told(error)}. Its settings are in config/database.py."
        if is_missing_table(error):
            return f"A table is not there: {_told(error)}. Run `python artisan.py migrate`."
        return None


def _told(error: BaseException) -> str:
    """The error and the first line of what it says; the others stand in its trace."""
    return f"{name_of(error)}: {message(error)}".removesuffix(": ").splitlines()[0]


def _is_on_screen(logger: logging.Logger) -> bool:
    if not logger.hasHandlers():
        return True  # the standard library shows it on stderr
    step: logging.Logger | None = logger
    while step is not None:
        if any(isinstance(one, logging.StreamHandler) and one.stream is sys.stderr for one in step.handlers):
            return True
        step = step.parent if step.propagate else None
    return False
