"""`queue:retry`: puts failed jobs back onto their queues."""

from collections.abc import Sequence
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Message
from lamplighter.errors import ConfigError, LamplighterError, QueueError
from lamplighter.queue.commands.ids import refuse_empty
from lamplighter.queue.failed import FailedJob, FailedJobs, FailedRecord
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.manager import QueueManager

TOGETHER = 100  # jobs that are read at once, and whose records are deleted at once


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
        refuse_empty(ids or ())
        wanted = None if ids == ["all"] else list(dict.fromkeys(ids or []))
        records = [] if wanted == [] else self._failed_jobs.records(ids=wanted)
        if not records and not wanted:
            self.output.info("No retryable jobs found.")
            return 0
        self.output.info("Pushing failed queue jobs back onto the queue.")
        known = {record.id for record in records}
        unknown = [id for id in wanted or [] if id not in known]
        for id in unknown:
            self.output.error(f"Unable to find failed job with ID [{id}].")
        parts = (records[first : first + TOGETHER] for first in range(0, len(records), TOGETHER))
        return max([int(bool(unknown)), *map(self._retry, parts)])

    def _retry(self, records: Sequence[FailedRecord]) -> int:
        left = [record.id for record in records]
        pushed: list[FailedRecord] = []
        code = 0
        try:
            for job in self._failed_jobs.read(records):
                left.remove(job.id)
                if self._pushes(job):
                    pushed.append(job.without_message())
                else:
                    code = 1
        finally:
            # Only now: a crash before this line retries these jobs once more, the other order would lose them.
            code = max(code, self._forget(pushed))
        for id in left:
            self.output.error(f"The failed job [{id}] was retried or deleted by others meanwhile, or has failed again.")
        return max(code, int(bool(left)))

    def _pushes(self, job: FailedJob) -> bool:
        if job.fault:
            self.output.two_column(job.id, "FAIL", style="red")
            self.output.error(f"The failed job [{job.id}] can't be retried: {job.fault}. Mend its row, or forget it.")
            return False
        try:
            self._push(job)
        except (ConfigError, QueueError) as error:  # its connection may be gone from the configuration by now
            self.output.two_column(job.id, "FAIL", style="red")
            self.output.error(str(error))
            return False
        return True

    def _forget(self, pushed: Sequence[FailedRecord]) -> int:
        """Delete the records as they were read: what has failed since then has records of its own."""
        try:
            self._failed_jobs.forget(pushed)
        except LamplighterError as error:
            for record in pushed:
                self.output.two_column(record.id, "KEPT", style="red")
            ids = " ".join(record.id for record in pushed)
            self.output.error(f"They are on their queues again, and their records are still there: {error}")
            self.output.error(f"When that is mended, delete the records: `python artisan.py queue:forget {ids}`")
            return 1
        for record in pushed:
            self.output.two_column(record.id, "DONE", style="green")
        return 0

    def _push(self, job: FailedJob) -> None:
        message = Message(without_attempts(job.payload), job.key, job.headers)
        self._queues.connection(job.connection).push(message, queue=job.queue)
