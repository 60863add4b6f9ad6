"""`queue:pause`: has workers take no job from a queue, or from any."""

from lamplighter.queue.commands.pausing import PausingCommand
from lamplighter.queue.events import QueuePaused, QueuesPaused
from lamplighter.queue.guard.pausing import PauseSignals


class PauseCommand(PausingCommand):
    """Pause job processing for a specific queue; the jobs in hand come to their end."""

    name = "queue:pause"
    description = "Pause job processing for a specific queue"

    def all(self, signals: PauseSignals) -> None:
        """Pause all of them, whatever is paused by its name."""
        signals.pause_all()
        self.events.dispatch(QueuesPaused())
        self.output.info("Job processing on all queues across all connections has been paused.")

    def one(self, signals: PauseSignals, connection: str, queue: str) -> None:
        """Pause it."""
        signals.pause(connection, queue)
        self.events.dispatch(QueuePaused(connection, queue))
        self.output.info(f"Job processing on queue [{connection}:{queue}] has been paused.")
