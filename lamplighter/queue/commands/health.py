"""`queue:health`: for container checks; tells whether the workers of this host are alive."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.console.options import LONGEST
from lamplighter.contracts import Application
from lamplighter.queue.guard.health import read_health


class HealthCommand(Command):
    """Tell whether the workers of this host are alive."""

    name = "queue:health"
    description = "Tell whether the workers of this host are alive"

    def __init__(self, app: Application) -> None:
        self._app = app

    def handle(
        self,
        seconds: Annotated[
            float, typer.Option("--seconds", min=0, max=LONGEST, help="The oldest beat that is still healthy")
        ] = 30,
    ) -> int:
        """Look at every worker; 1 when one stands still, or when there is none."""
        folder = self._app.path("storage", "framework", "workers")
        workers = read_health(folder)
        if not workers:
            self.output.error(f"No worker runs on this host: none has a heartbeat in {folder}.")
            return 1
        sick = [(worker, late) for worker in workers if (late := worker.late(seconds))]
        for worker, late in sick:
            told = ", ".join(f"{thread} for {worker.ages[thread]:.0f} s" for thread in late)
            self.output.error(f"The worker {worker.pid} stands still: no beat of {told}.")
        if sick:
            return 1
        self.output.info(f"{len(workers)} worker{'s are' if len(workers) > 1 else ' is'} alive.")
        return 0
