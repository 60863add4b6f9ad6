"""`queue:delayed`: lists the jobs that are held back."""

import json as json_module
from datetime import UTC, datetime
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import HeldJob
from lamplighter.queue.commands.target import able
from lamplighter.queue.manager import QueueManager

MOST = 1_000_000  # that are listed at once
LAST = 253_402_300_799.0  # seconds since 1970 until the end of the year 9999


class DelayedCommand(Command):
    """List the jobs that are to run later."""

    name = "queue:delayed"
    description = "List the jobs that are to run later"

    def __init__(self, queues: QueueManager) -> None:
        self._queues = queues

    def handle(
        self,
        connection: Annotated[str | None, typer.Argument(help="The connection")] = None,
        limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many at most")] = 1000,
        json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    ) -> None:
        """One line a job, the earliest first; times are UTC."""
        jobs = able(self._queues.connection(connection), "held", "list delayed jobs").held(most=limit)
        if json:
            self.output.line(json_module.dumps({"delayed_jobs": [_fields(job) for job in jobs]}, ensure_ascii=False))
            return
        for job in jobs:
            self.output.two_column(f"{_stamp(job)} {job.id}", f"{job.queue} {job.name}")
        if not jobs:
            self.output.info("No delayed jobs found.")


def _fields(job: HeldJob) -> dict[str, object]:
    return {
        "id": job.id,
        "job_id": job.job_id,
        "class": job.name,
        "queue": job.queue,
        "due_at": _stamp(job),
        "can_cancel": job.can_cancel,
    }


def _stamp(job: HeldJob) -> str:
    # A row may have any number, and a calendar ends with the year 9999.
    return datetime.fromtimestamp(min(max(0.0, job.due), LAST), UTC).strftime("%Y-%m-%d %H:%M:%S")
