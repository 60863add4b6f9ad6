"""`queue:retry`: puts failed jobs back onto their queues."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated

import typer

from lamplighter.console.command import Command
from lamplighter.contracts import Message
from lamplighter.errors import ConfigError, ConsoleError, LamplighterError, QueueError
from lamplighter.queue.commands.ids import refuse_empty
from lamplighter.queue.dispatching.deferring import deferring
from lamplighter.queue.dispatching.elsewhere import Wait, told_of_processes
from lamplighter.queue.failed import FailedJob, FailedJobs, FailedRecord, Wanted, parts
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.trace import message, one_line
from lamplighter.queue.manager import QueueManager

TOGETHER = 100  # jobs that are read at once, and whose records are deleted at once
RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")  # numbers that a column of 64 bits holds


class RetryCommand(Command):
    """Put failed jobs back onto their queues."""

    name = "queue:retry"
    description = "Put failed jobs back onto their queues"

    def __init__(self, failed_jobs: FailedJobs, queues: QueueManager) -> None:
        self._failed_jobs = failed_jobs
        self._queues = queues

    def handle(
        self,
        ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The jobs' ids, or `all`")] = None,
        queue: Annotated[str | None, typer.Option("--queue", help="All jobs of this queue, in place of ids")] = None,
        ranges: Annotated[
            list[str] | None, typer.Option("--range", metavar="A-B", help="The jobs with ids from A to B, numbers both")
        ] = None,
    ) -> int:
        """Push each job to where it came from; its record goes when the queue has it.

        Where no queue keeps it, as on a deferred connection, it is run here, and its record goes when it has run or is
        recorded anew.
        """
        refuse_empty(ids or ())
        numbers = self._numbers(ranges or ())
        if queue is not None and (ids or ranges):
            raise ConsoleError(
                "--queue names all jobs of a queue: give no ids and no --range beside it. Nothing was done."
            )
        if ids and "all" in ids and (len(ids) > 1 or ranges):
            raise ConsoleError("`all` are all jobs: give no other id and no --range beside it. Nothing was done.")
        if ids == ["all"] or queue is not None:
            return self._retry_all(Wanted(queue=queue))
        return self._retry_some(list(dict.fromkeys(ids or ())), numbers)

    def _numbers(self, ranges: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """The ranges; as in Laravel, either end may come first."""
        if ranges and not self._failed_jobs.has_numbers:
            raise ConsoleError(
                "--range is for ids that are numbers, as the driver `database` of failed jobs has them "
                "(config/queue.py, failed.driver). Nothing was done."
            )
        found = [(text, RANGE.fullmatch(text)) for text in ranges]
        wrong = [text for text, match in found if match is None]
        if wrong:
            raise ConsoleError(
                f"{wrong[0]!r} is no range of ids; write two numbers, such as --range=1-50. Nothing was done."
            )
        ends = [sorted(map(int, match.groups())) for _, match in found if match]
        return tuple((first, last) for first, last in ends)

    def _retry_all(self, wanted: Wanted) -> int:
        records = self._failed_jobs.records(wanted)
        first = next(records, None)
        if first is not None:
            return self._retry_each(chain([first], records))
        if wanted.queue is None:
            self.output.info("No retryable jobs found.")
            return 0
        self.output.error(f"Unable to find failed jobs for queue [{wanted.queue}].")
        return 1

    def _retry_some(self, ids: Sequence[str], numbers: tuple[tuple[int, int], ...]) -> int:
        if not ids and not numbers:
            self.output.info("No retryable jobs found.")
            return 0
        named = [*self._failed_jobs.records(ids=ids)] if ids else []
        known = {record.id for record in named}
        unknown = [id for id in ids if id not in known]
        ranged = self._failed_jobs.records(Wanted(numbers=numbers)) if numbers else iter(())
        others = (record for record in ranged if record.id not in known)
        first = next(others, None)
        found = chain(named, [] if first is None else [first], others)
        code = self._retry_each(found)
        for id in unknown:
            self.output.error(f"Unable to find failed job with ID [{id}].")
        if numbers and first is None and not known:
            told = ", ".join(f"{low}-{high}" for low, high in numbers)
            self.output.error(f"Unable to find failed jobs in the range [{told}].")
            code = 1
        return max(code, int(bool(unknown)))

    def _retry_each(self, records: Iterator[FailedRecord]) -> int:
        self.output.info("Pushing failed queue jobs back onto the queue.")
        return max((self._retry(part) for part in parts(records, TOGETHER)), default=0)

    def _retry(self, records: Sequence[FailedRecord]) -> int:
        left = [record.id for record in records]
        safe: list[FailedRecord] = []
        begun: list[tuple[FailedRecord, Sequence[Wait]]] = []
        code = 0
        try:
            for job in self._failed_jobs.read(records):
                left.remove(job.id)
                waits = self._pushes(job)
                if waits is None:
                    code = 1
                elif waits:
                    begun.append((job.without_message(), waits))
                else:
                    safe.append(job.without_message())
            for record, waits in begun:
                if self._is_safe(record.id, [lost for wait in waits if (lost := wait())]):
                    safe.append(record)
                else:
                    code = 1
        finally:
            # Only now: a crash before this line retries these jobs once more, the other order would lose them.
            code = max(code, self._forget(safe))
        for id in left:
            self.output.error(f"The failed job [{id}] was retried or deleted by others meanwhile, or has failed again.")
        return max(code, int(bool(left)))

    def _pushes(self, job: FailedJob) -> Sequence[Wait] | None:
        """Push a job; the waits for the end of what runs in another process now, and None where its record has to stay.

        What it defers runs in a block of its own: the command's exit code may tell of others that have failed.
        """
        if job.fault:
            why = f"The failed job [{job.id}] can't be retried: {job.fault}. Mend its row, or forget it."
            self._tell_kept(job.id, why)
            return None
        try:
            with deferring() as block, told_of_processes() as begun:
                self._push(job)
        except (ConfigError, QueueError) as error:  # its connection may be gone from the configuration by now
            self._tell_kept(job.id, message(error))
            return None
        except (Exception, SystemExit) as error:  # a connection such as sync runs it here: it may raise anything
            self._tell_kept(job.id, f"The failed job [{job.id}] has failed again. {one_line(error)}")
            return None
        return begun if self._is_safe(job.id, block.lost) else None

    def _is_safe(self, id: str, lost: Sequence[Exception]) -> bool:
        """Whether a job that has ended was done or recorded."""
        if lost:
            self._tell_kept(id, message(lost[0]))
        return not lost

    def _tell_kept(self, id: str, why: str) -> None:
        self.output.two_column(id, "FAIL", style="red")
        self.output.error(why)

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
        target = self._queues.connection(job.connection)
        if (why := target.lacks.get("push")) is not None:
            raise QueueError(f"The failed job [{job.id}] can't be put on the connection {job.connection!r}. {why}")
        target.push(Message(without_attempts(job.payload), job.key, job.headers), queue=job.queue)
