"""`down` and `up`: workers wait while the application is down, unless they are forced."""

import math
import time
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.console.options import LONGEST
from lamplighter.foundation.maintenance import FileMaintenance

Retry = Annotated[float | None, typer.Option(help="Seconds after which clients may try again", min=0, max=LONGEST)]
Message = Annotated[str | None, typer.Option(help="Why the application is down")]


class DownCommand(Command):
    """Put the application into maintenance mode."""

    name = "down"
    description = "Put the application into maintenance mode"

    def __init__(self, maintenance: FileMaintenance) -> None:
        self._maintenance = maintenance

    def handle(self, retry: Retry = None, message: Message = None) -> None:
        was_down = self._maintenance.is_down()
        # Whole seconds, as PHP reads them: up, or clients would come back too early.
        seconds = None if retry is None else math.ceil(retry)
        self._maintenance.activate({"time": math.ceil(time.time()), "retry": seconds, "message": message})
        if was_down:
            self.output.info("Maintenance mode options updated.")
        else:
            self.output.info("Application is now in maintenance mode.")


class UpCommand(Command):
    """Bring the application out of maintenance mode."""

    name = "up"
    description = "Bring the application out of maintenance mode"

    def __init__(self, maintenance: FileMaintenance) -> None:
        self._maintenance = maintenance

    def handle(self) -> None:
        if self._maintenance.deactivate():
            self.output.info("Application is now live.")
        else:
            self.output.info("Application is already up.")
