"""`queue:resume`, and `queue:continue` as its other name: has workers take jobs from a paused queue again."""

from lamplighter.queue.commands.pausing import PausingCommand
from lamplighter.queue.events import QueueResumed, QueuesResumed
from lamplighter.queue.guard.pausing import PauseSignals


class ResumeCommand(PausingCommand):
    """Resume job processing for a paused queue."""

    name = "queue:resume"
    description = "Resume job processing for a paused queue"

    def all(self, signals: PauseSignals) -> None:
        """End the pause of all queues; what is paused by its name stays so."""
        signals.resume_all()
        self.events.dispatch(QueuesResumed())
        self.output.info("Job processing on all queues across all connections has been resumed.")

    def one(self, signals: PauseSignals, connection: str, queue: str) -> None:
        """End the pause of one; what `--all` has paused stays so, and what is paused by another name."""
        signals.resume(connection, queue)
        self.events.dispatch(QueueResumed(connection, queue))
        self.output.info(f"Job processing on queue [{connection}:{queue}] has been resumed.")
        for other in signals.paused_by(connection, queue):
            self.output.warn(
                f"It is paused as [{other}:{queue}] besides, which is the same queue: `queue:resume {other}:{queue}` "
                f"ends that."
            )
        if signals.is_all_paused():
            self.output.warn("All queues are paused besides: `queue:resume --all` ends that.")


class ContinueCommand(ResumeCommand):
    """Resume job processing for a paused queue."""

    name = "queue:continue"
