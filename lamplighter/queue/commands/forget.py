"""`queue:forget`: deletes a failed job."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.queue.failed import FailedJobs


class ForgetCommand(Command):
    """Delete a failed job."""

    name = "queue:forget"
    description = "Delete a failed job"

    def __init__(self, failed_jobs: FailedJobs) -> None:
        self._failed_jobs = failed_jobs

    def handle(self, id: Annotated[str, typer.Argument(help="The job's id")]) -> int:
        """Delete it; 1 when there is no such job."""
        if not self._failed_jobs.forget(id):
            self.output.error("No failed job matches the given ID.")
            return 1
        self.output.info("Failed job deleted successfully.")
        return 0
