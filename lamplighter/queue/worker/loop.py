"""The loop of `queue:work`: one turn after the other, until there is a reason to stop."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from lamplighter.contracts import DriverDelivery, Events, Maintenance
from lamplighter.logging.context import job_context
from lamplighter.queue.events import WorkerStarting, WorkerStopping
from lamplighter.queue.guard.control import Control, StopReason
from lamplighter.queue.guard.deadlines import Hand
from lamplighter.queue.worker.crashing import crash_counted
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.settling import Settling

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """How jobs are popped, run and settled: one after the other, or beside each other.

    Attributes:
        processed: how many were popped.
        beaten_at: when the loop was last seen to go on, on the monotonic clock.
        last_job_at: when the last job came to its end; 0 before the first.
    """

    processed: int
    beaten_at: float
    last_job_at: float

    def prepare(self) -> None:
        """Be ready to run a job before any is taken from the others."""
        ...

    def turn(self) -> bool:
        """Take what there is to do, or wait for it; whether a job was popped."""
        ...

    def is_empty(self) -> bool:
        """Whether the worker is to stop at the end of its queues, and has come there."""
        ...

    def is_exhausted(self) -> bool:
        """Whether the queues were empty when they last answered, and no job is in hand; False while they are away."""
        ...

    @property
    def is_at_work(self) -> bool:
        """Whether a job is in hand: that is no standstill, since its own timeout watches over it."""
        ...

    def busy_until(self, now: float) -> float:
        """When the jobs in hand are to have ended, at the latest; `now` where there is none."""
        ...

    def when_overdue(self, end_process: Callable[[Start], object]) -> Callable[[Start], object]:
        """What the watching thread does about a job that is overdue, `end_process` where nothing less will do."""
        ...

    def finish(self) -> None:
        """Let what is in hand come to its end; nothing more is popped."""
        ...

    def drain(self, timeout: float) -> bool:
        """Settle the jobs whose pushes are not acknowledged yet; False when some are left after `timeout` seconds."""
        ...

    def close(self) -> None:
        """Let go of what ran the jobs."""
        ...

    def thread_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in; None where it is in another process."""
        ...


class Loop:
    """Turns until there is a reason to stop, in the thread that calls `run`."""

    def __init__(self, jobs: Jobs, control: Control, options: WorkerOptions) -> None:
        self._jobs = jobs
        self._control = control
        self._options = options
        self._idle_since = 0.0

    def run(self) -> StopReason:
        """Run jobs until there is a reason to stop. The connection must be open."""
        jobs, asked, options = self._jobs, self._control.asked, self._options
        began = jobs.beaten_at = self._idle_since = time.monotonic()
        is_limited = bool(options.once or options.max_jobs or options.max_time)
        reason = None
        turn = jobs.turn
        while reason is None:
            popped = turn()
            # Between two jobs of a full queue nothing else needs to be looked at.
            if not popped or is_limited or asked:
                reason = self._reason(popped, began)
        self._control.begin_to_stop()
        jobs.finish()
        return reason

    def _reason(self, popped: bool, began: float) -> StopReason | None:
        jobs, options = self._jobs, self._options
        if self._control.asked:
            return self._control.first_reason()
        if not popped:
            reason = self._reason_without_a_job()
            if reason is not None:
                return reason
        if options.max_time and time.monotonic() - began >= options.max_time:
            return StopReason.MAX_TIME
        if popped and (options.once or (options.max_jobs and jobs.processed >= options.max_jobs)):
            return StopReason.MAX_JOBS
        return None

    def _reason_without_a_job(self) -> StopReason | None:
        control, options = self._control, self._options
        has_idled = self._has_idled()
        if control.is_down:
            # Nobody knows what the queues hold: they are not looked at.
            return StopReason.MAINTENANCE if has_idled or options.stop_when_empty or options.once else None
        if control.is_paused:
            return None
        if self._jobs.is_empty():
            return StopReason.PAUSED if control.paused_queues else StopReason.EMPTY
        if not has_idled:
            return None
        return StopReason.PAUSED if control.paused_queues else StopReason.EMPTY_FOR

    def _has_idled(self) -> bool:
        """Whether there has been nothing to do for as long as the worker is to wait for a job."""
        control, jobs, most = self._control, self._jobs, self._options.stop_when_empty_for
        if not most:
            return False
        now = time.monotonic()
        # In maintenance mode the queues are not looked at: only the time counts.
        if not control.is_down and (control.is_paused or not jobs.is_exhausted()):
            self._idle_since = now
        return now - max(self._idle_since, jobs.last_job_at) >= most


class Worker:
    """A loop with an exit code, which tells of its beginning and its end.

    Args:
        is_told: it says in the log that it stops.
    """

    def __init__(
        self,
        connection: str,
        jobs: Jobs,
        runner: Runner,
        settling: Settling,
        events: Events,
        options: WorkerOptions,
        control: Control,
        hand: Hand[Start],
        maintenance: Maintenance,
        *,
        is_told: bool = True,
    ) -> None:
        self.control = control
        self.hand = hand
        self.jobs = jobs
        self._connection = connection
        self._runner = runner
        self._settling = settling
        self._events = events
        self._options = options
        self._maintenance = maintenance
        self._is_told = is_told

    def look_for_maintenance(self) -> None:
        """Take no further job while the application is down."""
        self.control.tell_maintenance(is_down=not self._options.force and self._maintenance.is_down())

    def work(self) -> int:
        """Run jobs until there is a reason to stop; the exit code. The connection must be open."""
        self._events.dispatch(WorkerStarting(self._connection, self._options.queues))
        try:
            with crash_counted():
                reason = Loop(self.jobs, self.control, self._options).run()
            status = 1 if self._options.once and self._settling.has_failed else reason.exit_code
            job_context.set(None)
            self._settling.tell(WorkerStopping(status, reason.reason, self.jobs.processed))
            if self._is_told:
                log.info("worker stopping", extra={"reason": reason.reason, "jobs": self.jobs.processed})
        finally:
            self.jobs.close()
        return status

    def drain(self, timeout: float) -> bool:
        """Settle, at the end, the jobs whose pushes are not acknowledged yet; False when some are left."""
        with crash_counted():
            return self.jobs.drain(timeout)

    def has_further_start(self, delivery: DriverDelivery) -> bool:
        """Whether a job may be started once more if its worker dies of its next start."""
        return self._runner.has_further_start(delivery)
