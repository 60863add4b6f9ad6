"""`queue:failed`: lists the failed jobs."""

import json as json_module
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.queue.failed import FailedJobs


class FailedCommand(Command):
    """List the failed jobs."""

    name = "queue:failed"
    description = "List the failed jobs"

    def __init__(self, failed_jobs: FailedJobs) -> None:
        self._failed_jobs = failed_jobs

    def handle(self, json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
        """One line a job, the newest first."""
        if json:
            jobs = [
                {
                    "id": job.id,
                    "connection": job.connection,
                    "queue": job.queue,
                    "class": job.name,
                    "failed_at": job.failed_at.strftime("%Y-%m-%d %H:%M:%S"),
                }
                for job in self._failed_jobs.all()
            ]
            self.output.line(json_module.dumps({"failed_jobs": jobs}, ensure_ascii=False))
            return
        count = 0
        for count, job in enumerate(self._failed_jobs.all(), 1):  # noqa: B007
            stamp = job.failed_at.strftime("%Y-%m-%d %H:%M:%S")
            self.output.two_column(f"{stamp} {job.id}", f"{job.connection}@{job.queue} {job.name}")
            self.output.line(job.exception, verbosity=1)
        if not count:
            self.output.info("No failed jobs found.")
