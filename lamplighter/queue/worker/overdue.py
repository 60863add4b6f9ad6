"""The end of a job that has overrun, and of its worker's process."""

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from lamplighter.contracts import Events, WorkQueue
from lamplighter.errors import JobTimedOut as JobTimedOutError
from lamplighter.queue.delivery import Deleted, Failed, Released
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.queue.events import JobFailed, JobTimedOut
from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.guard.ending import exit_after, within
from lamplighter.queue.guard.timers import spawn
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.many import Many
from lamplighter.queue.worker.runner import Start

log = logging.getLogger(__name__)

HOOK = 5.0  # seconds for recording a failure, and again for the job's failed()
COMMIT = 10.0  # seconds at most for committing and leaving, when a job was ended by its timeout
LISTENERS = 2.0  # seconds for those who hear of it, each time
SERVE = 0.05  # seconds of one look for acknowledgements
STEP = 0.25  # seconds between two signs that threads run
LONGEST = 2 * HOOK + 4 * LISTENERS + COMMIT + 5  # seconds for all of it


class Overdue:
    """Ends the process of a job that has overrun, from the watching thread: the job's own thread may never return."""

    def __init__(
        self,
        queue: WorkQueue,
        failing: Failing,
        events: Events,
        flush: Callable[[], object],
        *,
        thread_of: Callable[[Start], int | None],
        shutdown: float = COMMIT,
        take_over: Callable[[], float] = lambda: LONGEST,
        status: Callable[[], int] = lambda: 0,
        going_on: Callable[[], object] = lambda: None,
    ) -> None:
        """`going_on` hears a few times a second that threads run: the C timer ends a process where they don't."""
        self._queue = queue
        self._failing = failing
        self._events = events
        self._flush = flush
        self._thread_of = thread_of
        self._shutdown = min(COMMIT, shutdown)
        self._take_over = take_over
        self._status = status
        self._going_on = going_on
        self._until = 0.0

    def __call__(self, start: Start) -> None:
        """Settle the job, commit, and end the process with 137, or with 1 when only a grace period is over.

        Where its handler has ended, and the end of a worker that was told to stop leaves no time for its record, all
        is as it should be: the status is the worker's own, and the next one records the failure.

        Each step has its own few seconds; whatever hangs in all of them, a thread that does nothing else ends the
        process.
        """
        seconds = max(0.1, min(LONGEST, self._take_over()))
        self._until = time.monotonic() + seconds
        elapsed = time.monotonic() - start.began
        timeout = start.policy.timeout
        has_timed_out = bool(timeout) and elapsed >= timeout
        # Not a signal: process 1 of a container survives its own SIGKILL.
        status = StopReason.TIMED_OUT.exit_code if has_timed_out else 1
        has_ended = self._failing.error_of(start) is not None
        waits_for_its_record = has_ended and not self._failing.is_told(start)
        if not exit_after(seconds, status):
            os._exit(status)  # what follows may hang, and nothing would end it
        # The C timer of the job would cut this short. Only a thread that has waited, and runs again, may set it anew.
        spawn(self._go_on)
        try:
            self._within(LISTENERS, lambda: self._say(start, elapsed, has_ended=has_ended))
            self._break_off_deferred(start)
            if not isinstance(start, Many):
                self._settle(start, elapsed, has_timed_out=has_timed_out)
            # Nobody knows which of many jobs has overrun. The worker leaves as if it were killed then: the next owner
            # begins what was in hand one by one, so that the one which overruns again is charged for it, and it alone.
            if not (isinstance(start, Many) and has_timed_out):
                is_closed = self._queue.close(timeout=min(self._shutdown, self._left() * 0.8))
                if is_closed and not has_timed_out and waits_for_its_record:
                    status = self._status()
            self._within(LISTENERS, self._flush)
        except Exception:
            log.exception("the end of an overdue job failed")
        finally:
            os._exit(status)

    def _go_on(self) -> None:
        while self._left() > 0:
            time.sleep(STEP)
            self._going_on()

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _within(self, seconds: float, action: Callable[[], object]) -> bool:
        # Where less is left than all of this may take, each step leaves two thirds of it to those after it.
        return within(min(seconds, self._left() / 3), action)

    def _say(self, start: Start, elapsed: float, *, has_ended: bool) -> None:
        what = "the record of a failed job, or its failed(), has overrun" if has_ended else "job has overrun"
        fields = {"job": start.name, "position": start.delivery.position, "after": round(elapsed, 1)}
        log.error("%s; the worker ends", what, extra=fields)
        self._print_stack(start)

    def _break_off_deferred(self, start: Start) -> None:
        """Nothing that the job has deferred begins now; where it asked to be done with, nobody would defer it again."""
        deferred = start.deferred
        if deferred is None:
            return
        is_deleted = isinstance(start.wish, Deleted)
        if not self._within(HOOK, lambda: deferred.break_off(is_repeated=not is_deleted, with_running=True)):
            start.undo_deletion()

    def _settle(self, start: Start, elapsed: float, *, has_timed_out: bool) -> None:
        delivery, policy, wish = start.delivery, start.policy, start.wish
        error = self._failing.error_of(start)
        if error is not None:
            # The job itself has come to its end; it is the store or failed() that hangs.
            self._fail(start, error, elapsed)
            return
        if has_timed_out:
            self._tell(JobTimedOut(start, policy.timeout))
        if isinstance(wish, Deleted) and self._are_there(start.pushes):
            delivery.delete()
        elif isinstance(wish, Released):
            delivery.release(wish.delay)
        elif isinstance(wish, Failed):
            self._fail(start, wish.error, elapsed)
        elif not has_timed_out:
            delivery.release(0)
        elif policy.may_retry(start.attempts):
            delivery.release(policy.delay_after(start.attempts))
        else:
            text = f"{start.name} has run for {elapsed:.1f} s; its timeout is {policy.timeout:g} s."
            self._fail(start, JobTimedOutError(text), elapsed)

    def _are_there(self, pushes: Pushes | None) -> bool:
        """Whether all that a job has pushed is acknowledged, or is so within a few seconds."""
        reported = threading.Event()
        if pushes is None or not pushes.when_reported(reported.set):
            return pushes is None or pushes.error is None
        until = time.monotonic() + min(HOOK, self._left() / 3)
        while not reported.is_set() and time.monotonic() < until:
            self._queue.serve(SERVE)
        return reported.is_set() and pushes.error is None

    def _fail(self, start: Start, error: BaseException, elapsed: float) -> None:
        failing, delivery = self._failing, start.delivery
        if not failing.is_told(start):
            if not self._within(HOOK, lambda: failing.record(start, error)):
                # The store may wait for the very job that hangs. The next worker records the failure, and runs nothing.
                counted = delivery.failure is None
                delivery.failure = error
                delivery.release(0, counted=counted)
                return
            self._within(HOOK, lambda: failing.tell(start, error))
        delivery.fail(error)
        self._tell(JobFailed(start, elapsed, error))

    def _tell(self, event: JobTimedOut | JobFailed) -> None:
        if self._events.listeners(type(event)):
            self._within(LISTENERS, lambda: self._events.dispatch(event))

    def _print_stack(self, start: Start) -> None:
        frame = sys._current_frames().get(self._thread_of(start) or 0)
        if frame is None or sys.stderr is None:
            return
        with suppress(OSError, ValueError):  # the disk under it may be full, or a job has closed it
            sys.stderr.write("The job's stack, the newest call last:\n" + "".join(traceback.format_stack(frame)))
