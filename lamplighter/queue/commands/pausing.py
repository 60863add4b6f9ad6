"""What `queue:pause` and `queue:resume` share: a queue that is named, or `--all`."""

from typing import Annotated

import typer

from lamplighter.cache.repository import Cache
from lamplighter.console.command import Command
from lamplighter.contracts import Events
from lamplighter.errors import ConsoleError
from lamplighter.queue.commands.reach import warn_of_limits
from lamplighter.queue.commands.target import able, place_of
from lamplighter.queue.guard.pausing import PauseSignals
from lamplighter.queue.manager import QueueManager


class PausingCommand(Command):
    """Says something of the pause of one queue, or of all; a subclass writes `one` and `all`."""

    def __init__(self, queues: QueueManager, cache: Cache, events: Events) -> None:
        self.events = events
        self._queues = queues
        self._cache = cache

    def handle(
        self,
        queue: Annotated[str, typer.Argument(help="The queue, as connection:queue or queue")] = "",
        every: Annotated[bool, typer.Option("--all", help="All queues of all connections, in place of one")] = False,
    ) -> None:
        """Workers see it within a second or two."""
        if every and queue:
            raise ConsoleError("--all means every queue: give no name beside it. Nothing was done.")
        if not every and not queue.strip():
            raise ConsoleError("A queue name is required unless the --all option is used.")
        signals = PauseSignals(self._cache, self._queues.names_of)
        if every:
            self.all(signals)
        else:
            connection, name = place_of(queue, self._queues)
            able(self._queues.connection(connection), "pause", "be paused")
            self.one(signals, connection, name)
        warn_of_limits(self._cache, self.output)

    def all(self, signals: PauseSignals) -> None:
        """Of all queues of all connections."""
        raise NotImplementedError

    def one(self, signals: PauseSignals, connection: str, queue: str) -> None:
        """Of one queue."""
        raise NotImplementedError
