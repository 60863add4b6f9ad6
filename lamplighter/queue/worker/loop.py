"""The loop of `queue:work`: pop, run, settle."""

import logging
import sys
import threading
import time
from queue import Empty, SimpleQueue

from lamplighter.contracts import DatabaseErrors, Events, Maintenance
from lamplighter.errors import AlreadyDone, MaxAttemptsExceeded, PayloadError, SlotTerminated
from lamplighter.errors import JobFailed as JobFailedError
from lamplighter.logging.context import job_context
from lamplighter.queue.delivery import DriverDelivery, Failed, Released, WorkQueue
from lamplighter.queue.events import JobProcessing, WorkerIdle, WorkerStarting, WorkerStopping
from lamplighter.queue.failed.trace import read_text
from lamplighter.queue.guard.control import NEVER, Control, StopReason
from lamplighter.queue.guard.deadlines import Hand
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.many import Many, begin_many, may_join, settle_many
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.settling import Settling, never_return

log = logging.getLogger(__name__)

GOES_ON = (False, False)  # neither paused nor down
TURN = 0.5  # seconds that one wait for what is in hand takes at most


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
        self.settling = Settling(queue, failing, events, database_errors, self.hand)
        self.control = Control(grace=options.grace)
        self.processed = 0
        self.beaten_at = time.monotonic()
        self._queue = queue
        self._runner = runner
        self._events = events
        self._who_hears_of_starts = events.listeners(JobProcessing)
        self._options = options
        self._maintenance = maintenance
        self._unconfirmed: dict[Start, float] = {}
        self._confirmed: SimpleQueue[Start] = SimpleQueue()
        self._last_job_at = 0.0
        self._said_held = GOES_ON
        self._most = 1 if options.once else options.max_jobs or NEVER

    # what others ask for ───────────────────────────────────────────────────────────────────────────────────────────

    def look_for_maintenance(self) -> None:
        """Take no further job while the application is down."""
        self.control.tell_maintenance(is_down=not self._options.force and self._maintenance.is_down())

    def has_further_start(self, delivery: DriverDelivery) -> bool:
        """Whether a job may be started once more if its worker dies of its next start."""
        return self._runner.has_further_start(delivery)

    def thread_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in."""
        return threading.main_thread().ident

    # the loop ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_at_work(self) -> bool:
        """Whether a job is in hand: that is no standstill, since its own timeout watches over it."""
        return not self.hand.is_empty()

    def busy_until(self, now: float) -> float:
        """When the handlers in hand are to have ended, at the latest; `now` where there is none."""
        return self.hand.busy_until(now)

    def prepare(self) -> None:
        """Be ready to run a job before any is taken from the others."""

    def work(self) -> int:
        """Run jobs until there is a reason to stop; the exit code. The connection must be open."""
        options = self._options
        self._events.dispatch(WorkerStarting(self._queue.connection, options.queues))
        began = self.beaten_at = time.monotonic()
        is_limited = bool(options.once or options.max_jobs or options.max_time)
        reason = None
        asked = self.control.asked
        while reason is None:
            popped = self._turn()
            # Between two jobs of a full queue nothing else needs to be looked at.
            if not popped or is_limited or asked:
                reason = self._stop_reason(popped, began)
        self.control.begin_to_stop()
        self._finish()
        status = 1 if options.once and self.settling.has_failed else reason.exit_code
        job_context.set(None)
        self._tell_of_the_end(WorkerStopping(status, reason.reason, self.processed))
        return status

    def _tell_of_the_end(self, stopping: WorkerStopping) -> None:
        self.settling.tell(stopping)
        log.info("worker stopping", extra={"reason": stopping.reason, "jobs": stopping.jobs_processed})

    def _finish(self) -> None:
        """Nothing runs when the loop ends."""

    def _turn(self) -> bool:
        if self._unconfirmed:
            self._empty_the_bell()
            self._settle_confirmed()
        control = self.control
        if control.is_paused or control.is_down:
            self.beaten_at = time.monotonic()
            self._say_why_held()
            if self._unconfirmed:
                self._queue.serve(TURN)
            else:
                self._wait(self._options.sleep or 1)
            return False
        if self._said_held is not GOES_ON:
            self._say_why_held()
        delivery = self._queue.pop(self._options.queues, 0) or self._pop_idle()
        if delivery is None:
            return False
        self.processed += 1
        if self.processed >= self._most:
            control.begin_to_stop()  # nothing comes after it: what hangs from here on, hangs at the end
        self.process(delivery)
        if self._options.rest:
            self._wait(self._options.rest)
        return True

    def _pop_idle(self) -> DriverDelivery | None:
        job_context.set(None)
        self.beaten_at = time.monotonic()
        if self._events.listeners(WorkerIdle):
            self.settling.tell(WorkerIdle(self._queue.connection, self._options.queues))
        if self.control.asked or self._is_empty():
            return None
        return self._queue.pop(self._options.queues, self._options.sleep)

    def _is_empty(self) -> bool:
        options = self._options
        return (options.stop_when_empty or options.once) and self._queue.is_exhausted()

    def _say_why_held(self) -> None:
        """Say once why no job is taken, and once that jobs are taken again."""
        control = self.control
        held = (control.is_paused, control.is_down) if control.is_held else GOES_ON
        if held == self._said_held:
            return
        self._said_held = held
        if control.is_paused:
            log.info("worker paused by USR2; it takes no job before it gets CONT")
        if control.is_down:
            log.info("worker waits: the application is in maintenance mode")
        if not control.is_held:
            log.info("worker takes jobs again")

    def _wait(self, seconds: float) -> None:
        """Until the time is over, or somebody asked for something."""
        until = time.monotonic() + seconds
        held = self.control.is_paused, self.control.is_down
        while not self.control.asked and (self.control.is_paused, self.control.is_down) == held:
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                self.control.bell.get(timeout=left)
            except Empty:
                return

    def _stop_reason(self, popped: bool, began: float) -> StopReason | None:
        control, options = self.control, self._options
        if control.asked:
            return control.first_reason()
        if not popped:
            reason = self._reason_without_a_job(began)
            if reason is not None:
                return reason
        if options.max_time and time.monotonic() - began >= options.max_time:
            return StopReason.MAX_TIME
        if popped and self.processed >= self._most:
            return StopReason.MAX_JOBS
        return None

    def _reason_without_a_job(self, began: float) -> StopReason | None:
        control, options = self.control, self._options
        idle = time.monotonic() - max(began, self._last_job_at)
        has_idled = bool(options.stop_when_empty_for) and idle >= options.stop_when_empty_for
        if control.is_down:
            # Nobody knows what the queues hold: they are not looked at.
            return StopReason.MAINTENANCE if has_idled or options.stop_when_empty or options.once else None
        if control.is_paused:
            return None
        if self._is_empty():
            return StopReason.EMPTY
        return StopReason.EMPTY_FOR if has_idled else None

    # one job ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def process(self, delivery: DriverDelivery) -> None:
        """Run one delivery and settle it, exactly once."""
        start = self._runner.start(delivery)
        began = start.began = time.monotonic()
        job_context.set(start)
        if self._read(start) and not (start.entry and start.entry.many and self._process_many(start)):
            timeout = start.policy.timeout
            self.hand.put(start, began + timeout if timeout else NEVER)
            error = None
            try:
                if self._who_hears_of_starts and not start.is_told:
                    event = JobProcessing(start)
                    for listener in self._who_hears_of_starts:
                        listener(event)
                start.may_push_ahead = True
                self._runner.run(start)
            except SlotTerminated:
                raise
            except BaseException as raised:  # SystemExit, too: nobody has asked the worker to end but the job
                error = raised
                read_text(error)
            if not self.hand.take(start):
                never_return(self.hand, error)
            self._end(start, error, time.monotonic() - began)
        self.beaten_at = self._last_job_at = time.monotonic()

    def _end(self, start: Start, error: BaseException | None, duration: float) -> None:
        """Settle a job that has run, or let it wait for what it has pushed: its queue must have it first."""
        start.may_push_ahead = False
        pushes = start.pushes
        if error is None and pushes is None and start.view is None:
            self.settling.done(start, duration)
            return
        if pushes is None or error is not None or isinstance(start.wish, Released | Failed):
            self.settling.settle(start, error, duration)
            return
        start.delivery.keep()
        self._unconfirmed[start] = duration
        if not pushes.when_reported(lambda: self._on_confirmed(start)):
            self._on_confirmed(start)

    def _on_confirmed(self, start: Start) -> None:
        """All that a job has pushed is acknowledged, or has failed; called from any thread."""
        self._confirmed.put(start)
        self.control.bell.put(None)

    def _empty_the_bell(self) -> None:
        """Before a turn looks at anything: whoever rang has said before what for, and who rings from now on is heard.

        What a busy worker left in it would wake it for nothing when it waits, once for each job.
        """
        while not self.control.bell.empty():
            self.control.bell.get()

    def _settle_confirmed(self) -> None:
        while not self._confirmed.empty():
            start = self._confirmed.get()
            duration = self._unconfirmed.pop(start)
            job_context.set(start)
            error = start.pushes.error if start.pushes else None
            if isinstance(start, Many):
                settle_many(start, self.settling, error, duration)
            else:
                self.settling.settle(start, error, duration)

    # many jobs in one call ─────────────────────────────────────────────────────────────────────────────────────────

    def _process_many(self, first: Start) -> bool:
        """Run a job together with others that are there; False where it is to be run by itself."""
        many = self._gather(first) if self._may_gather(first) else None
        if many is None or len(many.starts) == 1:
            return False
        timeout = many.policy.timeout
        many.began = time.monotonic()
        job_context.set(many)
        self.hand.put(many, many.began + timeout if timeout else NEVER)
        error = None
        try:
            if self._tell_of(many):
                many.may_push_ahead = True
                self._runner.run(many)
        except SlotTerminated:
            raise
        except BaseException as raised:
            error = raised
            read_text(error)
        if not self.hand.take(many):
            never_return(self.hand, error)
        self._end_many(many, error, time.monotonic() - many.began)
        return True

    def _may_gather(self, first: Start) -> bool:
        # It was begun in a call that has failed, and this is the same attempt.
        first.is_told, first.delivery.singly = first.delivery.singly, False
        return not first.is_told and not self._options.once and may_join(first)

    def _gather(self, first: Start) -> Many:
        """What is there of the same class, in its order: as long as nothing else comes, up to its limits."""
        many = self._many(first)
        while not many.is_full:
            delivery = self._queue.pop(self._options.queues, max(0.0, many.until - time.monotonic()))
            if delivery is None:
                if time.monotonic() >= many.until or not self.control.takes_jobs:
                    break
                self._settle_confirmed()
                continue
            start = self._runner.start(delivery)
            start.began = time.monotonic()
            job_context.set(start)
            self.processed += 1
            if not self._read(start):
                continue
            if not many.takes(start):
                self.processed -= 1
                delivery.put_back()
                break
            many.add(start)
        return many

    def _many(self, first: Start) -> Many:
        most = self._options.max_jobs
        room = 1 + max(0, most - self.processed) if most else sys.maxsize
        assert first.entry is not None  # it has been read
        return begin_many(first, self._runner.policy_of(first.entry), most=room)

    def _tell_of(self, many: Many) -> bool:
        """Tell that the jobs of a call begin; False when none of them is left to be handled."""
        if self._events.listeners(JobProcessing):
            for start in many.starts:
                try:
                    self._events.dispatch(JobProcessing(start))
                except BaseException as error:
                    many.refused[start] = error  # it counts as the job's own
        return len(many.refused) < len(many.starts)

    def _end_many(self, many: Many, error: BaseException | None, duration: float) -> None:
        """Settle the jobs of a call, when all that the call has pushed is acknowledged."""
        many.may_push_ahead = False
        if many.pushes is None or error is not None:
            settle_many(many, self.settling, error, duration)
            return
        many.keep()
        self._unconfirmed[many] = duration
        if not many.pushes.when_reported(lambda: self._on_confirmed(many)):
            self._on_confirmed(many)

    def drain(self, timeout: float) -> bool:
        """Settle the jobs whose pushes are not acknowledged yet; False when some are left after `timeout` seconds."""
        until = time.monotonic() + timeout
        while self._unconfirmed and time.monotonic() < until:
            self._queue.serve(min(0.05, timeout))
            self._settle_confirmed()
        return not self._unconfirmed

    def _read(self, start: Start) -> bool:
        """Make the job; False when the delivery is settled already, since it can't be run."""
        failure = start.delivery.failure
        if failure is not None:
            start.attempts -= 1  # it comes back to be recorded, not to be started
        try:
            self._runner.read(start)
            # Its first start is always allowed.
            if start.attempts > 1 and failure is None and not _may_start(start):
                start.attempts -= 1  # it is not started once more
                raise MaxAttemptsExceeded(_too_often(start))
        except (PayloadError, JobFailedError) as error:
            self.settling.fail(start, failure or error)
            return False
        except AlreadyDone:
            self.settling.pass_over(start)
            return False
        except BaseException as error:
            if start.entry is None and not isinstance(error, Exception):
                raise  # nothing of the application's has run yet
            self.settling.settle(start, error, 0.0)
            return False
        if failure is not None:
            self.settling.fail(start, failure)
        return failure is None


def _may_start(start: Start) -> bool:
    return start.policy.may_start(start.attempts, has_crashed=start.delivery.has_crashed)


def _too_often(start: Start) -> str:
    times = "once" if start.attempts == 1 else f"{start.attempts} times"
    how = f"{times} without coming to an end"
    if start.delivery.has_crashed:
        # The first start that a worker has died of may have left no mark.
        how = f"at least {how}, and its worker died under it"
    return f"{start.name} has been started {how}; its tries are {start.policy.tries}."
