"""`queue:flush`: deletes all failed jobs."""

from typing import Annotated

import typer

from lamplighter.console.command import Command, confirm_in_production
from lamplighter.console.options import LONGEST
from lamplighter.contracts import Application
from lamplighter.queue.failed import FailedJobs


class FlushCommand(Command):
    """Delete all failed jobs."""

    name = "queue:flush"
    description = "Delete all failed jobs"

    def __init__(self, app: Application, failed_jobs: FailedJobs) -> None:
        self._app = app
        self._failed_jobs = failed_jobs

    def handle(
        self,
        hours: Annotated[
            float | None,
            typer.Option("--hours", min=0, max=LONGEST / 3600, help="Only those that failed so many hours ago"),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Do not ask in production")] = False,
    ) -> int:
        """Delete them."""
        if not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        self._failed_jobs.flush(hours=hours)
        which = "All failed jobs" if hours is None else f"All jobs that failed more than {hours:g} hours ago"
        self.output.info(f"{which} {'deleted' if hours is None else 'have been deleted'} successfully.")
        return 0
