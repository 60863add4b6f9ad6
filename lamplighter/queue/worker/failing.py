"""The end of a job that has failed: recorded, told, settled, in this order."""

import logging
import sys
from contextlib import suppress

from lamplighter.errors import MessageTooLarge, SlotTerminated, Unavailable
from lamplighter.queue.failed import FailedJobs, Failure
from lamplighter.queue.failed.trace import one_line, tellable
from lamplighter.queue.worker.outages import Outages
from lamplighter.queue.worker.runner import Runner, Start

log = logging.getLogger(__name__)

STORE_AWAY = 2.0  # seconds until a store that refused is asked again


class Failing:
    """Writes a failed job down before anything lets go of it."""

    def __init__(self, failed_jobs: FailedJobs, runner: Runner) -> None:
        self._failed_jobs = failed_jobs
        self._runner = runner
        self._begun: tuple[Start, BaseException] | None = None
        self._told: Start | None = None
        self._outages = Outages()

    def write_down(self, start: Start, error: BaseException) -> Exception | None:
        """Record and call `failed()`; what kept it from being done. Either may hang: the caller holds a deadline."""
        self._begun = start, error
        try:
            self.record(start, error)
            self.tell(start, error)
        except Exception as refusal:
            return refusal
        return None

    def settle(self, start: Start, error: BaseException, refusal: Exception | None) -> bool:
        """Let go of a job that is written down, True; while the store refuses, hold it in its place instead."""
        delivery = start.delivery
        self._begun = self._told = None
        if refusal is None:
            delivery.fail(error)
            return True
        self.hold(start, error, refusal)
        return False

    def hold(self, start: Start, error: BaseException, refusal: Exception) -> None:
        """Keep a job that can't be recorded in its place: nothing may be settled before its failure is written down.

        It comes back with its failure, and is not run again.
        """
        delivery = start.delivery
        counted = delivery.failure is None
        delivery.failure = error
        if isinstance(refusal, MessageTooLarge) and not counted:
            # The store takes others: this one must hold up no more than a retry does, and was not started once more.
            delivery.retries -= 1
            counted = True
        delivery.release(STORE_AWAY, counted=counted)
        reason = one_line(refusal)
        # It is tried every two seconds, for each job that has failed meanwhile.
        level = logging.ERROR if self._outages.is_new(reason) else logging.DEBUG
        log.log(
            level,
            "a failed job can't be recorded; it stays uncommitted and is recorded as soon as that works",
            extra={"job": start.name, "position": delivery.position, "reason": reason},
        )

    def record(self, start: Start, error: BaseException) -> None:
        """Write the failure into the failed-job store; what the store raises passes through.

        What the store has taken is not written once more: a topic would hold one dead letter for each time.
        """
        delivery = start.delivery
        if delivery.is_recorded:
            return
        failure = Failure(
            connection=delivery.connection,
            queue=delivery.queue,
            payload=delivery.payload,
            error=error,
            uuid=start.uuid,
            key=delivery.key,
            headers=delivery.headers,
            origin=delivery.position,
            timestamp_ms=delivery.timestamp_ms,
            attempts=start.attempts,
        )
        self._failed_jobs.record(failure)
        delivery.is_recorded = True
        fields = {"job": start.name, "position": delivery.position, "reason": one_line(error)}
        try:
            log.error("job failed", extra=fields)
        except Exception as raised:
            # A filter of the application's: the store has taken the job, and no refusal of it is to be told.
            with suppress(OSError, ValueError, AttributeError):  # stderr is closed, or there is none
                sys.stderr.write(f"job failed: {fields}; the log has raised {one_line(raised)}\n")

    def tell(self, start: Start, error: BaseException) -> None:
        """Call the job's `failed()`; what it raises is logged, but for a service that is away.

        Raises:
            Unavailable: the hook could not reach what it needs; it is to be called again.
        """
        self._told = start
        delivery = start.delivery
        if delivery.has_crashed and not start.policy.may_start(start.attempts - 1, has_crashed=True):
            # Each worker that dies in here counts one more start, and the next one comes here again.
            log.error("failed() is not called: workers have died in it", extra={"job": start.name})
            return
        try:
            self._runner.run_failed(start, error)
        except (Unavailable, SlotTerminated):
            raise
        except BaseException as raised:
            log.error("the failed() method of a job raised", exc_info=tellable(raised), extra={"job": start.name})

    def error_of(self, start: Start) -> BaseException | None:
        """The error that this job is being written down with; None when it has not failed."""
        return self._begun[1] if self._begun is not None and self._begun[0] is start else None

    def is_told(self, start: Start) -> bool:
        """Whether this job is recorded, and its `failed()` has been called; it may be running still."""
        return self._told is start
