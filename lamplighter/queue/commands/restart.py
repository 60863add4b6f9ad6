"""`queue:restart`: tells every worker to finish its job and end, for a process monitor to start it anew."""

from lamplighter.cache.repository import Cache
from lamplighter.console.command import Command
from lamplighter.queue.commands.reach import warn_of_limits
from lamplighter.queue.guard.restart import RestartSignal


class RestartCommand(Command):
    """Restart workers after their current job."""

    name = "queue:restart"
    description = "Restart workers after their current job"

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def handle(self) -> None:
        """Broadcast the signal, and say how far it reaches."""
        RestartSignal(self._cache).broadcast()
        self.output.info("Broadcasting queue restart signal.")
        warn_of_limits(self._cache, self.output)
