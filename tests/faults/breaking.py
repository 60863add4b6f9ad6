"""A service that the worker asks when it settles a job that has raised, and that breaks."""

from lamplighter.contracts import DatabaseErrors
from lamplighter.support.provider import ServiceProvider


class BrokenErrors:
    """Breaks where it is asked about the error of a job."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """No error says so."""
        return False

    def is_deadlock(self, error: BaseException) -> bool:
        """Break, with an error that nobody expects."""
        raise RuntimeError("the framework's own")


class BreakingProvider(ServiceProvider):
    """Has the worker end by an error of its own, each time a job raises."""

    def register(self) -> None:
        """In place of the framework's."""
        self.app.instance(DatabaseErrors, BrokenErrors())
