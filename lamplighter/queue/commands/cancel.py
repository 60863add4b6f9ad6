"""`queue:cancel`: takes back a job that is held back."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.queue.commands.ids import refuse_empty
from lamplighter.queue.commands.target import able
from lamplighter.queue.manager import QueueManager


class CancelCommand(Command):
    """Cancel a job that is to run later."""

    name = "queue:cancel"
    description = "Cancel a job that is to run later"

    def __init__(self, queues: QueueManager) -> None:
        self._queues = queues

    def handle(
        self,
        id: Annotated[str, typer.Argument(help="The id that queue:delayed shows, or that dispatch has returned")],
        connection: Annotated[str | None, typer.Option("--connection", help="The connection")] = None,
    ) -> int:
        """0 when it will not run; 1 when there is no such job any more."""
        refuse_empty([id])
        count = able(self._queues.connection(connection), "cancel", "cancel a job").cancel(id)
        if not count:
            self.output.error(
                "No delayed job of this id can be cancelled: it is due by now, was cancelled before, or waits in a "
                "delay topic of Kafka. `queue:delayed` shows what there is."
            )
            return 1
        self.output.info(f"Cancelled {count} {'job' if count == 1 else 'jobs'}.")
        return 0
