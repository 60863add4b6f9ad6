"""`queue:retry`: puts failed jobs back onto their queues."""

from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Message
from lamplighter.errors import ConfigError, LamplighterError, QueueError
from lamplighter.queue.failed import FailedJob, FailedJobs
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.manager import QueueManager


class RetryCommand(Command):
    """Put failed jobs back onto their queues."""

    name = "queue:retry"
    description = "Put failed jobs back onto their queues"

    def __init__(self, failed_jobs: FailedJobs, queues: QueueManager) -> None:
        self._failed_jobs = failed_jobs
        self._queues = queues

    def handle(
        self, ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The jobs' ids, or `all`")] = None
    ) -> int:
        """Push each job to where it came from; its record goes when the queue has it."""
        wanted = self._failed_jobs.ids() if ids == ["all"] else list(dict.fromkeys(ids or []))
        if not wanted:
            self.output.info("No retryable jobs found.")
            return 0
        self.output.info("Pushing failed queue jobs back onto the queue.")
        return max([self._retry(id) for id in wanted])

    def _retry(self, id: str) -> int:
        job = self._failed_jobs.find(id)
        if job is None:
            self.output.error(f"Unable to find failed job with ID [{id}].")
            return 1
        try:
            self._push(job)
        except (ConfigError, QueueError) as error:  # its connection may be gone from the configuration by now
            self.output.two_column(id, "FAIL", style="red")
            self.output.error(str(error))
            return 1
        # Only now: a crash before this line retries the job once more, the other order would lose it.
        try:
            self._failed_jobs.forget(id)
        except LamplighterError as error:
            self.output.two_column(id, "KEPT", style="red")
            self.output.error(f"It is on its queue again, and its record is still there: {error}")
            self.output.error(f"When that is mended, delete the record: `python artisan.py queue:forget {id}`")
            return 1
        self.output.two_column(id, "DONE", style="green")
        return 0

    def _push(self, job: FailedJob) -> None:
        message = Message(without_attempts(job.payload), job.key, job.headers)
        self._queues.connection(job.connection).push(message, queue=job.queue)
