"""The thread that moves rows of the table of delayed jobs, when they are due."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, LamplighterError, MessageTooLarge, QueueError, Unavailable
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.rows.delayed_job import DelayedJob
from lamplighter.kafka.delays.rows.table import LEASE, DelayedJobs
from lamplighter.kafka.producing.partitioner import Partitioner
from lamplighter.queue.failed.trace import one_line

log = logging.getLogger(__name__)

MOST = 200  # rows of one lease
LOOK_EVERY = 30.0  # seconds between two looks for rows that have come
LEAST_WAIT = 0.02  # seconds
AWAY = 5.0  # seconds until a database that refused is asked again
PATIENCE = LEASE / 2  # seconds for the acknowledgements of one lease
SERVE = 0.05  # seconds of one look for them

Refusals = Mapping[str, QueueError]


class Sender(Protocol):
    """The producer, as far as rows need it."""

    def send_soon(
        self, topic: str, message: Message, partition: int, told: Callable[[QueueError | None, Any], object]
    ) -> None: ...

    def serve(self, wait: float) -> None: ...


class RowMover(threading.Thread):
    """Leases the rows that are due, produces their jobs, waits for the delivery reports, then deletes the rows.

    The rows of a mover that dies are moved by another when the lease is over: late, perhaps twice, never lost.

    Args:
        table: makes the table; None where there is none, and nothing to do.
        sender: makes the producer, when there is something to send.
        short: the shortest delay of a row, so that none can be due before it has been seen.
        is_store: long delays are put into the table; else only what is left there is moved.
        known: the names of the configured connections.
        may_begin: whether the clock knows the brokers' time.
    """

    def __init__(
        self,
        table: Callable[[], DelayedJobs | None],
        clock: BrokerClock,
        sender: Callable[[], Sender],
        *,
        short: float,
        is_store: bool,
        known: Collection[str],
        partitioner: Partitioner,
        may_begin: Callable[[], bool],
    ) -> None:
        super().__init__(name="lamplighter-kafka-rows", daemon=True)
        self._make = table
        self._clock = clock
        self._sender = sender
        self._look_every = max(0.5, min(LOOK_EVERY, short / 2)) if is_store else LOOK_EVERY
        self._is_store = is_store
        self._known = known
        self._has_looked = False
        self._partitioner = partitioner
        self._may_begin = may_begin
        self._stopping = threading.Event()
        self._leave_by = float("inf")
        self._told = ""
        self._told_of: set[str] = set()  # ids of rows that can't be read
        self._look_for_odd_at = 0.0

    def ask_to_stop(self, *, timeout: float) -> None:
        """End behind what is being moved."""
        self._leave_by = time.monotonic() + timeout
        self._stopping.set()

    def stop(self, *, timeout: float) -> bool:
        """Be asked, and wait for the end; False when that has not come in time."""
        self.ask_to_stop(timeout=timeout)
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """Move until told to stop; whatever goes wrong is tried again."""
        while not self._stopping.is_set() and not self._may_begin():
            self._stopping.wait(0.1)
        while not self._stopping.is_set():
            try:
                table = self._make()
                if table is None:
                    return
                self._look_once(table)
                wait = self._move(table)
                self._told = ""
            except Exception as error:
                self._tell(error)
                wait = AWAY if self._is_store or not isinstance(error, LamplighterError) else LOOK_EVERY
            self._stopping.wait(wait)

    def _look_once(self, table: DelayedJobs) -> None:
        """Say what waits there though the settings are others now."""
        if self._has_looked:
            return
        jobs = 0 if self._is_store else table.count()
        if jobs:
            log.info("delayed jobs wait in the table, and delay_store is another; they are moved", extra={"jobs": jobs})
        for connection, count in table.others().items():
            if connection not in self._known:
                log.warning(
                    "delayed jobs of a connection that is not configured wait in the table; nobody here moves them",
                    extra={"of": connection, "jobs": count},
                )
        self._has_looked = True

    def _move(self, table: DelayedJobs) -> float:
        """Move one lease; seconds until the next look."""
        lease, jobs = table.claim(self._clock.now(), most=MOST)
        odd = [job for job in jobs if job.fault]
        if odd:
            self._tell_odd(odd)
            table.set_aside(lease, [job.key for job in odd])
        for queue, run in groupby(sorted((job for job in jobs if not job.fault), key=_queue), key=_queue):
            self._move_to(queue, list(run), table, lease)
        if len(jobs) == MOST:
            return 0.0
        if time.monotonic() >= self._look_for_odd_at:
            self._look_for_odd_at = time.monotonic() + LOOK_EVERY
            self._tell_odd(table.without_time(most=MOST))
        due = table.next_due(self._clock.now())
        if due is None:
            return self._look_every
        return max(LEAST_WAIT, min(self._look_every, due - self._clock.now()))

    def _move_to(self, queue: str, jobs: list[DelayedJob], table: DelayedJobs, lease: str) -> None:
        refused = dict(self._send(queue, jobs))
        # One that is too large has those refused that travelled in its batch: each goes once more, alone.
        for job in [job for job in jobs if len(jobs) > 1 and isinstance(refused.get(job.id), MessageTooLarge)]:
            del refused[job.id]
            refused.update(self._send(queue, [job]))
        table.forget(lease, [job.key for job in jobs if job.id not in refused])
        for error in refused.values():
            if isinstance(error, Unavailable):
                table.give_back(lease)
                raise error
        if refused:
            table.set_aside(lease, [job.key for job in jobs if job.id in refused])
            log.error(
                "delayed jobs can't be moved; they stay in the table, and are tried again",
                extra={"queue": queue, "jobs": len(refused), "reason": str(next(iter(refused.values())))},
            )

    def _send(self, queue: str, jobs: Sequence[DelayedJob]) -> Refusals:
        """Produce jobs and wait for their reports; the error of each that is not known to have arrived."""
        sender = self._sender()
        told: dict[str, QueueError | None] = {}
        error: QueueError | None = None
        for job in jobs:
            try:
                if error is None:
                    sender.send_soon(queue, job.message, self._partitioner(queue, job.message), _report(told, job.id))
            except MessageTooLarge as too_large:
                told[job.id] = too_large
            except (TypeError, ValueError, OverflowError) as its_own:  # a client refuses to write what it holds
                told[job.id] = QueueError(f"The job of the row {job.id} can't be written: {one_line(its_own)}")
            except QueueError as met:
                error = met  # the others would meet it, too
            if error is not None:
                told[job.id] = error
        until = time.monotonic() + PATIENCE
        while len(told) < len(jobs) and time.monotonic() < min(until, self._leave_by):
            sender.serve(SERVE)
        late = BrokerUnavailable(f"The brokers acknowledged nothing within {PATIENCE:g} s.")
        outcomes = {job.id: told.get(job.id, late) for job in jobs}
        return {id: error for id, error in outcomes.items() if error is not None}

    def _tell_odd(self, jobs: Sequence[DelayedJob]) -> None:
        """Tell of each row once that nobody can move."""
        for job in jobs:
            if job.id not in self._told_of:
                self._told_of.add(job.id)
                log.error(
                    "a row of the delayed jobs can't be moved; it stays: mend it in the table, or cancel it with "
                    "queue:cancel",
                    extra={"id": job.id, "queue": job.queue, "reason": job.fault},
                )

    def _tell(self, error: Exception) -> None:
        reason = one_line(error)
        if reason == self._told:
            return
        self._told = reason
        # What explains itself needs no trace.
        trace = None if isinstance(error, LamplighterError) else error
        log.warning("delayed jobs can't be moved; trying again", extra={"reason": reason}, exc_info=trace)


def _queue(job: DelayedJob) -> str:
    return job.queue


def _report(told: dict[str, QueueError | None], id: str) -> Callable[[QueueError | None, Any], object]:
    return lambda error, _: told.update({id: error})
