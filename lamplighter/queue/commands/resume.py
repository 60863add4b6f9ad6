"""`queue:resume`, and `queue:continue` as its other name: has workers take jobs from a paused queue again."""

from typing import Annotated

import typer

from lamplighter.cache.repository import Cache
from lamplighter.console.command import Command
from lamplighter.contracts import Events
from lamplighter.queue.commands.pause import named
from lamplighter.queue.commands.reach import warn_of_limits
from lamplighter.queue.events import QueueResumed, QueuesResumed
from lamplighter.queue.guard.pausing import PauseSignals
from lamplighter.queue.manager import QueueManager


class ResumeCommand(Command):
    """Resume job processing for a paused queue."""

    name = "queue:resume"
    description = "Resume job processing for a paused queue"

    def __init__(self, queues: QueueManager, cache: Cache, events: Events) -> None:
        self._queues = queues
        self._cache = cache
        self._events = events

    def handle(
        self,
        queue: Annotated[str, typer.Argument(help="The queue, as connection:queue or queue")] = "",
        every: Annotated[bool, typer.Option("--all", help="End the pause of all queues")] = False,
    ) -> None:
        """What is paused by its name stays so after `--all`; what `--all` has paused stays so after a name."""
        signals = PauseSignals(self._cache, self._queues.names_of)
        if every:
            signals.resume_all()
            self._events.dispatch(QueuesResumed())
            self.output.info("Job processing on all queues across all connections has been resumed.")
        else:
            connection, name = named(queue, self._queues)
            signals.resume(connection, name)
            self._events.dispatch(QueueResumed(connection, name))
            self.output.info(f"Job processing on queue [{connection}:{name}] has been resumed.")
            for other in signals.paused_by(connection, name):
                self.output.warn(
                    f"It is paused as [{other}:{name}] besides, which is the same queue: `queue:resume {other}:{name}` "
                    f"ends that."
                )
            if signals.is_all_paused():
                self.output.warn("All queues are paused besides: `queue:resume --all` ends that.")
        warn_of_limits(self._cache, self.output)


class ContinueCommand(ResumeCommand):
    """Resume job processing for a paused queue."""

    name = "queue:continue"
