"""`queue:prune-claims`: deletes payloads that were put aside and that nobody has fetched."""

from typing import Annotated

import typer

from lamplighter.console import options
from lamplighter.console.command import Command, confirm_in_production
from lamplighter.contracts import Application
from lamplighter.errors import ConsoleError
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.settings.tiers import LONGEST
from lamplighter.queue.claims.claims import reference_in
from lamplighter.queue.failed import FailedJobs


class PruneClaimsCommand(Command):
    """Delete old payloads that were put aside."""

    name = "queue:prune-claims"
    description = "Delete old payloads that were put aside"

    def __init__(self, app: Application, connections: KafkaConnections, failed_jobs: FailedJobs) -> None:
        self._app = app
        self._connections = connections
        self._failed_jobs = failed_jobs

    def handle(
        self,
        connection: Annotated[str, typer.Argument(help="The connection")] = "kafka",
        hours: Annotated[
            float | None,
            typer.Option(
                "--hours", min=0, max=options.LONGEST / 3600, help="What is older goes (else what no topic has)"
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Do not ask in production")] = False,
    ) -> int:
        """Delete them, but for those of failed jobs, which may be retried, and of jobs in the table of long delays."""
        settings = self._connections.settings(connection)
        store = settings.claims
        if store is None:
            raise ConsoleError(f"The connection {connection!r} has no claim_check: nothing is put aside for it.")
        # A job may come to its topic after the longest delay, and stay there for all of its retention.
        safe = settings.retention_days * 24 + LONGEST / 3600
        age = safe if hours is None else hours
        # Younger ones may be those of jobs that are still to run.
        if age < safe and not confirm_in_production(self.output, self._app.environment, force=force):
            return 1
        waiting = self._connections.queue(connection).delays.claims
        # The table first: what comes out of it meanwhile and fails is among the failed jobs then.
        pruned = store.prune(hours=age, kept=lambda: waiting() | self._names_of_failed_jobs())
        told = f"{_count(pruned.payloads, 'payload')} deleted from {store.folder}"
        done = f", and {_count(pruned.done, 'empty file')} of jobs that are done" if pruned.done else ""
        self.output.info(f"{told}{done}.")
        return 0

    def _names_of_failed_jobs(self) -> set[str]:
        references = (reference_in(job.headers) for job in self._failed_jobs.all() if job.headers)
        return {reference.name for reference in references if reference is not None}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
