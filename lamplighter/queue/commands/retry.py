"""`queue:retry`: puts failed jobs back onto their queues."""

from typing import Annotated

import msgspec
import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.queue.failed import FailedJob, FailedJobs
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
        wanted = [job.id for job in self._failed_jobs.all()] if ids == ["all"] else list(dict.fromkeys(ids or []))
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
        except QueueError as error:
            self.output.two_column(id, "FAIL", style="red")
            self.output.error(str(error))
            return 1
        # Only now: a crash before this line retries the job once more, the other order would lose it.
        self._failed_jobs.forget(id)
        self.output.two_column(id, "DONE", style="green")
        return 0

    def _push(self, job: FailedJob) -> None:
        message = Message(without_attempts(job.payload), job.key, job.headers)
        self._queues.connection(job.connection).push(message, queue=job.queue)


def without_attempts(payload: bytes) -> bytes:
    """The payload with its count of attempts at 0, where it has one; every other value keeps its bytes."""
    try:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return payload
    if "attempts" not in fields or bytes(fields["attempts"]) == b"0":
        return payload
    return msgspec.json.encode({**fields, "attempts": msgspec.Raw(b"0")})
