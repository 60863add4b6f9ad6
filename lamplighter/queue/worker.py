"""The loop of `queue:work`: pop, run, settle."""

import logging
import time
from queue import Empty, SimpleQueue

from lamplighter.contracts import DatabaseErrors, Events, Maintenance
from lamplighter.errors import JobFailed as JobFailedError
from lamplighter.errors import MaxAttemptsExceeded, PayloadError, Unavailable
from lamplighter.logging.context import job_context
from lamplighter.queue.delivery import Deleted, DriverDelivery, Failed, Released, WorkQueue
from lamplighter.queue.events import (
    JobFailed,
    JobProcessed,
    JobProcessing,
    JobReleased,
    WorkerIdle,
    WorkerStarting,
    WorkerStopping,
)
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.failing import Failing
from lamplighter.queue.options import StopReason, WorkerOptions
from lamplighter.queue.runner import Runner, Start
from lamplighter.queue.watch import NEVER, Hand

log = logging.getLogger(__name__)

AWAY = 1.0  # seconds until a job is run again that met a service which was away
LEAST_END = 40.0  # seconds for recording a failed job and its failed() at least; SQLite alone may wait for 30
LISTENER = "a listener raised"
MOST_DEADLOCKS = 5  # runs of one delivery that a deadlock excuses; the next one counts


class Worker:
    """Takes jobs from one connection and runs them, one after the other, in the thread that calls `work`."""

    def __init__(
        self,
        queue: WorkQueue,
        runner: Runner,
        failing: Failing,
        events: Events,
        options: WorkerOptions,
        *,
        database_errors: DatabaseErrors,
        maintenance: Maintenance,
    ) -> None:
        self.hand = Hand()
        self.bell: SimpleQueue[object] = SimpleQueue()
        self.processed = 0
        self.beaten_at = time.monotonic()
        self._queue = queue
        self._runner = runner
        self._failing = failing
        self._events = events
        self._options = options
        self._database_errors = database_errors
        self._maintenance = maintenance
        self._asked: set[StopReason] = set()
        self._paused = False
        self._down = False
        self._failed = False
        self._last_job_at = 0.0

    # what others ask for ───────────────────────────────────────────────────────────────────────────────────────────

    def ask_to_stop(self, reason: StopReason) -> None:
        """Finish the job in hand, then stop; safe in signal handlers and from any thread."""
        grace = self._options.grace
        if reason is StopReason.INTERRUPTED and reason not in self._asked and grace is not None:
            self.hand.limit = time.monotonic() + grace
        self._asked.add(reason)
        self.bell.put(None)

    def pause(self) -> None:
        """Take no further job until `resume`."""
        self._paused = True
        self.bell.put(None)

    def resume(self) -> None:
        """Take jobs again."""
        self._paused = False
        self.bell.put(None)

    def look_for_maintenance(self) -> None:
        """Take no further job while the application is down."""
        down = not self._options.force and self._maintenance.is_down()
        if down != self._down:
            self._down = down
            self.bell.put(None)

    # the loop ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def work(self) -> int:
        """Run jobs until there is a reason to stop; the exit code. The connection must be open."""
        options = self._options
        self._events.dispatch(WorkerStarting(self._queue.connection, options.queues))
        began = self.beaten_at = time.monotonic()
        is_limited = bool(options.once or options.max_jobs or options.max_time)
        reason = None
        while reason is None:
            popped = self._turn()
            # Between two jobs of a full queue nothing else needs to be looked at.
            if not popped or is_limited or self._asked:
                reason = self._stop_reason(popped, began)
        status = 1 if options.once and self._failed else reason.exit_code
        self._events.dispatch(WorkerStopping(status, reason.reason, self.processed))
        log.info("worker stopping", extra={"reason": reason.reason, "jobs": self.processed})
        return status

    def _turn(self) -> bool:
        if self._paused or self._down:
            self.beaten_at = time.monotonic()
            self._wait(self._options.sleep or 1)
            return False
        delivery = self._queue.pop(self._options.queues, 0) or self._pop_idle()
        if delivery is None:
            return False
        self.processed += 1
        self.process(delivery)
        if self._options.rest:
            self._wait(self._options.rest)
        return True

    def _pop_idle(self) -> DriverDelivery | None:
        job_context.set(None)
        self.beaten_at = time.monotonic()
        if self._events.listens(WorkerIdle):
            self._tell(WorkerIdle(self._queue.connection, self._options.queues))
        if self._asked or self._is_empty():
            return None
        return self._queue.pop(self._options.queues, self._options.sleep)

    def _is_empty(self) -> bool:
        options = self._options
        return (options.stop_when_empty or options.once) and (self._down or self._queue.is_exhausted())

    def _wait(self, seconds: float) -> None:
        """Until the time is over, or somebody asked for something."""
        until = time.monotonic() + seconds
        held = self._paused, self._down
        while not self._asked and (self._paused, self._down) == held:
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                self.bell.get(timeout=left)
            except Empty:
                return

    def _stop_reason(self, popped: bool, began: float) -> StopReason | None:
        if self._asked:
            return min(self._asked, key=list(StopReason).index)
        options = self._options
        if not popped:
            if self._is_empty():
                return StopReason.EMPTY
            idle = time.monotonic() - max(began, self._last_job_at)
            if options.stop_when_empty_for and idle >= options.stop_when_empty_for:
                return StopReason.EMPTY_FOR
        if options.max_time and time.monotonic() - began >= options.max_time:
            return StopReason.MAX_TIME
        if popped and (options.once or (options.max_jobs and self.processed >= options.max_jobs)):
            return StopReason.MAX_JOBS
        return None

    # one job ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def process(self, delivery: DriverDelivery) -> None:
        """Run one delivery and settle it, exactly once."""
        start = self._runner.start(delivery)
        began = start.began = time.monotonic()
        job_context.set(start)
        if self._read(start):
            timeout = start.policy.timeout
            self.hand.put(start, began + timeout if timeout else NEVER)
            error = None
            try:
                if self._events.listens(JobProcessing):
                    self._events.dispatch(JobProcessing(start))
                self._runner.run(start)
            except Exception as raised:
                error = raised
            except BaseException as leaving:
                log.error(
                    "a job ends its worker; it is not settled, and runs again",
                    extra={"job": start.name, "position": delivery.position, "reason": one_line(leaving)},
                )
                raise
            if not self.hand.take(start):
                self._never_return()
            self._settle(start, error, time.monotonic() - began)
        self.beaten_at = self._last_job_at = time.monotonic()

    def _read(self, start: Start) -> bool:
        """Make the job; False when the delivery is settled already, since it can't be run."""
        failure = start.delivery.failure
        try:
            self._runner.read(start)
            if failure is None and not start.policy.may_start(start.attempts):
                raise MaxAttemptsExceeded(_too_often(start))
        except (PayloadError, JobFailedError) as error:
            self._fail(start, failure or error)
            return False
        except Exception as error:
            self._settle(start, error, 0.0)
            return False
        if failure is not None:
            self._fail(start, failure)
        return failure is None

    def _settle(self, start: Start, error: Exception | None, duration: float) -> None:
        wish = start.wish
        if wish is None and error is None:
            start.delivery.delete()
            if self._events.listens(JobProcessed):
                try:
                    self._events.dispatch(JobProcessed(start, duration))
                except Exception:
                    log.exception(LISTENER)
            return
        if wish is not None and error is not None:
            log.error("a job raised after it had settled itself", exc_info=error, extra={"job": start.name})
        if isinstance(wish, Failed):
            self._fail(start, wish.error, duration)
        elif isinstance(wish, Released):
            self._release(start, None, wish.delay, duration)
        elif error is None or isinstance(wish, Deleted):
            start.delivery.delete()
            if self._events.listens(JobProcessed):
                self._tell(JobProcessed(start, duration))
        else:
            self._after_error(start, error, duration)

    def _after_error(self, start: Start, error: Exception, duration: float) -> None:
        delivery = start.delivery
        if isinstance(error, Unavailable) or self._database_errors.is_lost_connection(error):
            self._release(start, error, AWAY, duration, counted=False)
        elif self._database_errors.is_deadlock(error) and delivery.excused < MOST_DEADLOCKS:
            self._release(start, error, self._queue.deadlock_wait, duration, counted=False)
        elif not isinstance(error, PayloadError) and start.policy.may_retry(start.attempts):
            self._release(start, error, start.policy.delay_after(start.attempts), duration)
        else:
            self._fail(start, error, duration)

    def _release(
        self, start: Start, error: Exception | None, delay: float, duration: float, *, counted: bool = True
    ) -> None:
        start.delivery.release(delay, counted=counted)
        if error is not None:
            log.warning(
                "job will run again",
                extra={"job": start.name, "position": start.delivery.position, "delay": delay, "counted": counted},
                exc_info=error,
            )
        if self._events.listens(JobReleased):
            self._tell(JobReleased(start, duration, delay, error))

    def _fail(self, start: Start, error: BaseException, duration: float = 0.0) -> None:
        self._failed = True
        # The store and the job's failed() may hang as the job itself may: they have its timeout once more. A short
        # one is no measure for a store that is busy.
        timeout = start.policy.timeout
        self.hand.put(start, time.monotonic() + max(timeout, LEAST_END) if timeout else NEVER)
        refusal = self._failing.write_down(start, error)
        if not self.hand.take(start):
            self._never_return()
        if self._failing.settle(start, error, refusal) and self._events.listens(JobFailed):
            self._tell(JobFailed(start, duration, error))

    def _tell(self, event: object) -> None:
        """Tell of what is done already: a listener that raises changes nothing of it."""
        try:
            self._events.dispatch(event)
        except Exception:
            log.exception(LISTENER)

    def _never_return(self) -> None:
        """The watching thread has taken this job and is ending the process; a second settlement must not follow."""
        while True:
            time.sleep(3600)


def _too_often(start: Start) -> str:
    return (
        f"{start.name} has been started {start.attempts - 1} times without coming to an end, "
        f"and may be started {start.policy.tries} times."
    )
