"""The end of a job that has failed: recorded, told, settled, in this order."""

import logging
from typing import TYPE_CHECKING

from lamplighter.contracts import Events
from lamplighter.errors import Unavailable
from lamplighter.queue.events import JobFailed
from lamplighter.queue.runner import Runner, Start

if TYPE_CHECKING:
    from lamplighter.queue.failed import FailedJobs

log = logging.getLogger(__name__)

STORE_AWAY = 2.0  # seconds until a store that refused is asked again


class Failing:
    """Writes a failed job down before anything lets go of it."""

    def __init__(self, failed_jobs: "FailedJobs", runner: Runner, events: Events) -> None:
        self._failed_jobs = failed_jobs
        self._runner = runner
        self._events = events

    def fail(self, start: Start, error: BaseException, *, duration: float) -> None:
        """Record, call `failed()`, settle; while the store refuses, hold the delivery in its place instead."""
        delivery = start.delivery
        try:
            self.record(start, error)
            self.tell(start, error)
        except Exception as refusal:
            # Nothing may be settled before the failure is written down; the held delivery comes back with its
            # failure and is not run again.
            first = delivery.failure is None
            delivery.failure = error
            delivery.release(STORE_AWAY, counted=first)
            log.error(
                "a failed job can't be recorded; it stays uncommitted and is recorded as soon as that works",
                extra={"job": start.name, "position": delivery.position, "reason": _one_line(refusal)},
            )
            return
        delivery.fail(error)
        if self._events.listens(JobFailed):
            self._events.dispatch(JobFailed(start, duration, error))

    def record(self, start: Start, error: BaseException) -> None:
        """Write the failure into the failed-job store; what the store raises passes through."""
        delivery = start.delivery
        self._failed_jobs.record(
            connection=delivery.connection,
            queue=delivery.queue,
            payload=delivery.payload,
            error=error,
            uuid=start.uuid,
            key=delivery.key,
            headers=delivery.headers,
            origin=delivery.position,
            timestamp_ms=delivery.timestamp_ms,
        )
        log.error(
            "job failed",
            extra={"job": start.name, "position": delivery.position, "reason": _one_line(error)},
        )

    def tell(self, start: Start, error: BaseException) -> None:
        """Call the job's `failed()`; what it raises is logged, but for a service that is away.

        Raises:
            Unavailable: the hook could not reach what it needs; it is to be called again.
        """
        try:
            self._runner.run_failed(start, error)
        except Unavailable:
            raise
        except Exception:
            log.exception("the failed() method of a job raised", extra={"job": start.name})


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]
