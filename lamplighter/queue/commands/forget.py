"""`queue:forget`: deletes failed jobs."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.queue.commands.ids import refuse_empty
from lamplighter.queue.failed import FailedJobs


class ForgetCommand(Command):
    """Delete failed jobs."""

    name = "queue:forget"
    description = "Delete a failed job"

    def __init__(self, failed_jobs: FailedJobs) -> None:
        self._failed_jobs = failed_jobs

    def handle(self, ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The jobs' ids")]) -> int:
        """Delete each as it is when it is read; 1 when there is no such job, or it has failed again since then."""
        refuse_empty(ids)
        code = 0
        records = {record.id: record for record in self._failed_jobs.records(ids=ids)}
        for id in dict.fromkeys(ids):
            record = records.get(id)
            if record is None or not self._failed_jobs.forget([record]):
                self.output.error("No failed job matches the given ID.")
                code = 1
            else:
                self.output.info("Failed job deleted successfully.")
        return code
