"""`queue:prune-failed`: deletes old failed jobs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.console.options import LONGEST
from lamplighter.queue.failed import FailedJobs


class PruneFailedCommand(Command):
    """Delete failed jobs that are older than some hours."""

    name = "queue:prune-failed"
    description = "Delete failed jobs that are older than some hours"

    def __init__(self, failed_jobs: FailedJobs) -> None:
        self._failed_jobs = failed_jobs

    def handle(
        self,
        hours: Annotated[
            float, typer.Option("--hours", min=0, max=LONGEST / 3600, help="Those that failed longer ago than this")
        ] = 24,
    ) -> int:
        """Delete them, some hundreds at a time, and tell how many; 1 where nothing is kept that could be deleted."""
        if self._failed_jobs.unkept:
            self.output.error(f"Failed jobs can't be pruned: {self._failed_jobs.unkept}.")
            return 1
        count = self._failed_jobs.prune(datetime.now(UTC) - timedelta(hours=hours))
        self.output.info(f"{count} {'entry' if count == 1 else 'entries'} deleted.")
        return 0
