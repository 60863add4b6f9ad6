"""`queue:failed`: lists the failed jobs."""

import json as json_module
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import Annotated, Any

import typer

from lamplighter.console.command import Command
from lamplighter.console.output import cell
from lamplighter.queue.failed import PAGE, FailedJob, FailedJobs, Wanted, parts
from lamplighter.queue.failed.reason import reason_of

TIME = "%Y-%m-%d %H:%M:%S"


class FailedCommand(Command):
    """List the failed jobs."""

    name = "queue:failed"
    description = "List the failed jobs"

    def __init__(self, failed_jobs: FailedJobs) -> None:
        self._failed_jobs = failed_jobs

    def handle(
        self,
        queue: Annotated[str | None, typer.Option("--queue", help="Only those of this queue")] = None,
        job: Annotated[
            str | None, typer.Option("--job", help="Only those of this name; * stands for any letters")
        ] = None,
        limit: Annotated[
            int | None, typer.Option("--limit", min=1, max=sys.maxsize, help="Only so many, the newest")
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    ) -> None:
        """Two lines a job, the newest first; few jobs are in memory at a time, however many there are."""
        jobs = islice(self._wanted(queue, job), limit)
        if json:
            self._print_json(jobs)
            return
        count = 0
        for count, each in enumerate(jobs, 1):  # noqa: B007
            if not self.output.has_reader:
                return
            self._print(each)
        if not count:
            self.output.info("No failed jobs found.")

    def _wanted(self, queue: str | None, name: str | None) -> Iterator[FailedJob]:
        jobs = self._failed_jobs.all(Wanted(queue=queue))
        return jobs if name is None else (job for job in jobs if fnmatchcase(job.name, name))

    def _print(self, job: FailedJob) -> None:
        self.output.two_column(f"{job.failed_at.strftime(TIME)} {job.id}", f"{job.connection}@{job.queue} {job.name}")
        reason = cell(reason_of(job.exception))
        if reason:
            room = max(20, self.output.width - 6)
            self.output.line("    " + (reason if len(reason) <= room else f"{reason[: room - 1]}…"))
        self.output.line(job.exception, verbosity=1)

    def _print_json(self, jobs: Iterator[FailedJob]) -> None:
        """One array, written a page at a time."""
        before = '{"failed_jobs": ['
        for page in parts(jobs, PAGE):
            if not self.output.has_reader:
                return
            told = ({**fields_of(job), "reason": reason_of(job.exception)} for job in page)
            objects = ", ".join(json_module.dumps(one, ensure_ascii=False) for one in told)
            self.output.write(before + cell(objects))
            before = ", "
        self.output.write("]}\n" if before == ", " else f"{before}]}}\n")


def fields_of(job: FailedJob) -> dict[str, Any]:
    """What is said of each failed job, for programs, by Laravel's keys."""
    return {
        "id": job.id,
        "connection": job.connection,
        "queue": job.queue,
        "class": job.name,
        "failed_at": job.failed_at.strftime(TIME),
    }
