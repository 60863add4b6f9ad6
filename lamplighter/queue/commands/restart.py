"""`queue:restart`: tells every worker to finish its job and end, for a process monitor to start it anew."""

from lamplighter.cache.repository import Cache
from lamplighter.console.command import Command
from lamplighter.queue.guard.restart import RestartSignal

LIMITED = {
    "process": "The cache store keeps nothing beyond this process: no worker will see the signal. "
    "Set CACHE_STORE=redis.",
    "host": "The cache store is this host's own: workers on other hosts or in other containers will not see the "
    "signal. Set CACHE_STORE=redis to reach them.",
}


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
        limit = LIMITED.get(self._cache.reach)
        if limit is not None:
            self.output.warn(limit)
