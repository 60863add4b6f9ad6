"""`queue:prune-claims`: deletes payloads that were put aside and that nobody has fetched."""

from typing import Annotated

import typer

from lamplighter.console import options
from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.errors import ConsoleError
from lamplighter.queue.claims.claims import reference_from
from lamplighter.queue.claims.pruning import KeepsClaims
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.manager import QueueManager


class PruneClaimsCommand(Command):
    """Delete old payloads that were put aside."""

    name = "queue:prune-claims"
    description = "Delete old payloads that were put aside"

    def __init__(self, app: Application, queues: QueueManager, failed_jobs: FailedJobs) -> None:
        self._app = app
        self._queues = queues
        self._failed_jobs = failed_jobs

    def handle(
        self,
        connection: Annotated[str | None, typer.Argument(help="The connection")] = None,
        hours: Annotated[
            float | None,
            typer.Option(
                "--hours", min=0, max=options.LONGEST / 3600, help="What is older goes (else what no queue has)"
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Do not ask in production")] = False,
    ) -> int:
        """Delete them, but for those of failed jobs, which may be retried, and of jobs in the table of long delays."""
        queue = self._queues.connection(connection)
        claims = queue.prunable_claims() if isinstance(queue, KeepsClaims) else None
        if claims is None:
            raise ConsoleError(f"The connection {queue.connection!r} has no claim_check: nothing is put aside for it.")
        age = claims.hours if hours is None else hours
        # Younger ones may be those of jobs that are still to run.
        if age < claims.hours and not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        folder, waiting = claims.folder, claims.waiting
        # Those that wait first: what comes from there meanwhile and fails is among the failed jobs then.
        pruned = folder.prune(hours=age, kept=lambda: {*waiting()} | self._names_of_failed_jobs())
        told = f"{_count(pruned.payloads, 'payload')} deleted from {folder.folder}"
        done = f", and {_count(pruned.done, 'empty file')} of jobs that are done" if pruned.done else ""
        self.output.info(f"{told}{done}.")
        return 0

    def _names_of_failed_jobs(self) -> set[str]:
        jobs = self._failed_jobs.all()
        references = (reference_from(job.headers, job.payload) for job in jobs)
        return {reference.name for reference in references if reference is not None}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
