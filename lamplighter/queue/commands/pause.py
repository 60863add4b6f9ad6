"""`queue:pause`: has workers take no job from a queue, or from any."""

from typing import Annotated

import typer

from lamplighter.cache.repository import Cache
from lamplighter.console.command import Command
from lamplighter.contracts import Events
from lamplighter.errors import ConsoleError
from lamplighter.queue.commands.reach import warn_of_limits
from lamplighter.queue.commands.target import able, place_of
from lamplighter.queue.events import QueuePaused, QueuesPaused
from lamplighter.queue.guard.pausing import PauseSignals
from lamplighter.queue.manager import QueueManager


class PauseCommand(Command):
    """Pause job processing for a specific queue."""

    name = "queue:pause"
    description = "Pause job processing for a specific queue"

    def __init__(self, queues: QueueManager, cache: Cache, events: Events) -> None:
        self._queues = queues
        self._cache = cache
        self._events = events

    def handle(
        self,
        queue: Annotated[str, typer.Argument(help="The queue, as connection:queue or queue")] = "",
        every: Annotated[bool, typer.Option("--all", help="Pause all queues of all connections")] = False,
    ) -> None:
        """Workers see it within a second or two; the jobs in hand come to their end."""
        signals = PauseSignals(self._cache)
        if every:
            signals.pause_all()
            self._events.dispatch(QueuesPaused())
            self.output.info("Job processing on all queues across all connections has been paused.")
        else:
            connection, name = named(queue, self._queues)
            able(self._queues.connection(connection), "pause", "be paused")
            signals.pause(connection, name)
            self._events.dispatch(QueuePaused(connection, name))
            self.output.info(f"Job processing on queue [{connection}:{name}] has been paused.")
        warn_of_limits(self._cache, self.output)


def named(queue: str, queues: QueueManager) -> tuple[str, str]:
    """The connection and the queue that the command line names.

    Raises:
        ConsoleError: it names none.
    """
    if not queue.strip():
        raise ConsoleError("A queue name is required unless the --all option is used.")
    return place_of(queue, queues)
