"""`queue:clear`: deletes all jobs of queues."""

from typing import Annotated

import typer

from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.errors import ConsoleError
from lamplighter.queue.commands.target import able
from lamplighter.queue.manager import QueueManager


class ClearCommand(Command):
    """Delete all of the jobs from the specified queue."""

    name = "queue:clear"
    description = "Delete all of the jobs from the specified queue"

    def __init__(self, app: Application, queues: QueueManager) -> None:
        self._app = app
        self._queues = queues

    def handle(
        self,
        connection: Annotated[str | None, typer.Argument(help="The connection to clear")] = None,
        queue: Annotated[str | None, typer.Option(help="The queues to clear, separated by commas")] = None,
        force: Annotated[bool, typer.Option(help="Do not ask in production")] = False,
    ) -> int:
        """Failed jobs stay; so does what is delayed, where the connection says so."""
        if not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        target = able(self._queues.connection(connection), "clear", "be cleared")
        names = list(dict.fromkeys(name.strip() for name in (queue or target.default_queue).split(",") if name.strip()))
        if not names:
            raise ConsoleError("--queue names no queue.")
        for name in names:
            count = target.clear(name)
            self.output.info(f"Cleared {count} {'job' if count == 1 else 'jobs'} from the [{name}] queue.")
        for what in sorted(target.lacks):
            if what.startswith("clear_"):
                self.output.warn(target.lacks[what])
        return 0
