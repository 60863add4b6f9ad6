"""What becomes of a job that has run: done, to be tried again, or failed; decided and told here."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from lamplighter.contracts import DatabaseErrors, Events, WorkQueue
from lamplighter.errors import JobFailed as JobFailedError
from lamplighter.errors import OrderBlocked, PayloadError, QueueError, Unavailable
from lamplighter.events import check_returned
from lamplighter.queue.delivery import Deleted, Failed, Released
from lamplighter.queue.events import JobFailed, JobProcessed, JobReleased
from lamplighter.queue.failed.trace import one_line, tellable
from lamplighter.queue.guard.control import NEVER
from lamplighter.queue.guard.deadlines import Hand, never_return
from lamplighter.queue.worker.outages import Outages
from lamplighter.queue.worker.verdicts import ErrorElsewhere, Verdict

if TYPE_CHECKING:
    from lamplighter.queue.worker.failing import Failing
    from lamplighter.queue.worker.runner import Start

log = logging.getLogger(__name__)

AWAY = 1.0  # seconds until a job is run again that met a service which was away
LEAST_END = 40.0  # seconds for recording a failed job and its failed() at least; SQLite alone may wait for 30
LISTENER = "a listener raised"
MOST_DEADLOCKS = 5  # runs of one delivery that a deadlock excuses; the next one counts


class Settling:
    """Settles each start exactly once, in the thread that owns the worker's loop.

    Attributes:
        has_failed: a job has failed for good.
    """

    def __init__(
        self, queue: WorkQueue, failing: "Failing", events: Events, database_errors: DatabaseErrors, hand: "Hand[Start]"
    ) -> None:
        self.has_failed = False
        self._queue = queue
        self._failing = failing
        self._events = events
        self._who_hears_of_ends = events.listeners(JobProcessed)
        self._database_errors = database_errors
        self._hand = hand
        self._outages = Outages()

    def settle(self, start: "Start", error: BaseException | None, duration: float) -> bool:
        """Do what the handler asked for, or what its end calls for; False where the job is to run again."""
        wish = start.end()
        if wish is not None and error is not None:
            log.error("a job raised after it had settled itself", exc_info=error, extra={"job": start.name})
        if isinstance(wish, Failed):
            return self.fail(start, wish.error, duration)
        if isinstance(wish, Released):
            return self._release(start, None, wish.delay, duration)
        if error is None or isinstance(wish, Deleted):
            return self.done(start, duration)
        return self._after_error(start, error, duration)

    def excuses(self, starts: Sequence["Start"], error: BaseException) -> bool:
        """Whether an error is about a service, so that none of these jobs is charged for it."""
        if self._is_outage(error):
            return True
        return self._is_deadlock(error) and all(start.delivery.excused < MOST_DEADLOCKS for start in starts)

    def done(self, start: "Start", duration: float) -> Literal[True]:
        """Let go of a job that has come to its end."""
        start.delivery.delete()
        if self._who_hears_of_ends:
            event = JobProcessed(start, duration)
            try:
                for listener in self._who_hears_of_ends:
                    returned = listener(event)
                    if returned is not None:
                        check_returned(returned, listener)
            except BaseException as raised:
                log.error(LISTENER, exc_info=tellable(raised))
        return True

    def pass_over(self, start: "Start") -> None:
        """Let go of a job that was done before: its record has come again."""
        start.delivery.delete()
        log.info(
            "a job is done already, and its record has come again; it is passed over",
            extra={"job": start.name, "position": start.delivery.position},
        )

    def obey(self, start: "Start", verdict: Verdict, duration: float) -> bool:
        """Do what was decided elsewhere; False where the job is to run again."""
        if verdict.kind == "delete":
            return self.done(start, duration)
        if verdict.kind == "release":
            return self._release(start, verdict.error, verdict.delay, duration, counted=verdict.counted)
        error = JobFailedError("The job failed in its slot.") if verdict.error is None else verdict.error
        if verdict.kind == "record":
            return self.fail(start, error, duration)
        self.has_failed = True
        if verdict.kind == "hold":
            self._failing.hold(start, error, verdict.refusal or Unavailable("The slot could not record it."))
            return False
        start.delivery.fail(error)
        if self._events.listeners(JobFailed):
            self.tell(JobFailed(start, duration, error))
        return True

    def fail(self, start: "Start", error: BaseException, duration: float = 0.0) -> bool:
        """Record a job as failed, and let go of it; False while it can't be recorded."""
        self.has_failed = True
        self._hand.failing = start
        self._hand.put(start, time.monotonic() + time_to_fail(start.policy.timeout))
        refusal = self._failing.write_down(start, error)
        if not self._hand.take(start):
            never_return(self._hand)
        self._hand.failing = None
        is_over = self._failing.settle(start, error, refusal)
        if is_over and self._events.listeners(JobFailed):
            self.tell(JobFailed(start, duration, error))
        return is_over

    def tell(self, event: object) -> None:
        """Tell of what is done already: a listener that raises changes nothing of it."""
        try:
            self._events.dispatch(event)
        except BaseException as raised:
            log.error(LISTENER, exc_info=tellable(raised))

    def _after_error(self, start: "Start", error: BaseException, duration: float) -> bool:
        delivery = start.delivery
        if self._is_outage(error):
            return self._release(start, error, AWAY, duration, counted=False)
        if self._is_deadlock(error) and delivery.excused < MOST_DEADLOCKS:
            return self._release(start, error, self._queue.deadlock_wait, duration, counted=False)
        if not isinstance(error, PayloadError) and start.policy.may_retry(start.attempts):
            return self._release(start, error, start.policy.delay_after(start.attempts), duration)
        if start.policy.waits_too_long(start.attempts):
            fields = {
                "job": start.name,
                "position": delivery.position,
                "delay": start.policy.delay_after(start.attempts),
            }
            log.error("a job is not tried again: its backoff is longer than any job is held back", extra=fields)
        return self.fail(start, error, duration)

    def _release(
        self, start: "Start", error: BaseException | None, delay: float, duration: float, *, counted: bool = True
    ) -> Literal[False]:
        delivery = start.delivery
        had_failed = delivery.failure is not None
        delivery.release(delay, counted=counted)
        if error is not None and not had_failed and isinstance(delivery.failure, OrderBlocked | QueueError):
            delivery.failure.__cause__ = error  # what is recorded tells both
        if error is not None and not isinstance(error, ErrorElsewhere):  # that process has said so
            self._tell_release(start, error, delay, counted=counted)
        if self._events.listeners(JobReleased):
            self.tell(JobReleased(start, duration, delay, error))
        return False

    def _is_outage(self, error: BaseException) -> bool:
        return isinstance(error, Unavailable) or _tells(self._database_errors.is_lost_connection, error)

    def _is_deadlock(self, error: BaseException) -> bool:
        return _tells(self._database_errors.is_deadlock, error)

    def _tell_release(self, start: "Start", error: BaseException, delay: float, *, counted: bool) -> None:
        fields = {"job": start.name, "position": start.delivery.position, "delay": delay, "counted": counted}
        if counted or not self._is_outage(error):
            log.warning("job will run again", extra=fields, exc_info=error)
            return
        # All jobs meet it, every second, and none is to blame: its trace says nothing of them.
        reason = one_line(error)
        if self._outages.is_new(reason):
            log.warning("a service is away; jobs that need it wait, and are not charged", extra={"reason": reason})
        log.debug("job will run again", extra=fields)


def _tells(ask: Callable[[BaseException], bool], error: BaseException) -> bool:
    """What is said of a job's error; where the one that is asked raises, the error is the job's own."""
    try:
        return ask(error)
    except Exception as raised:
        log.error("an error of a job can't be told apart", exc_info=tellable(raised), extra={"error": one_line(error)})
        return False


def time_to_fail(timeout: float) -> float:
    """Seconds for recording a failed job and its `failed()`: they may hang as the job may, and have its timeout, too.

    A short one is no measure for a store that is busy; without one they have no end.
    """
    return max(timeout, LEAST_END) if timeout else NEVER
