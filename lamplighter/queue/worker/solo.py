"""Jobs that run one after the other, in the thread of the worker's loop."""

import sys
import threading
import time
from collections.abc import Callable, Sequence

from lamplighter.contracts import DriverDelivery, Events, WorkQueue
from lamplighter.errors import SlotTerminated
from lamplighter.events import check_returned
from lamplighter.logging.context import job_context
from lamplighter.queue.events import JobProcessing
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.guard.control import NEVER, Control
from lamplighter.queue.guard.deadlines import Hand, never_return
from lamplighter.queue.worker.ends import Ends
from lamplighter.queue.worker.many import Many, begin_many, may_gather, tell_of
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.reading import Reading
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.source import GOES_ON, Source

Others = Callable[[DriverDelivery], Sequence[DriverDelivery]]


class Solo:
    """Pops, runs and settles.

    Args:
        others: what is to be run in one call with a delivery, where somebody else decides that.
        when_idle: called whenever no job has come for a while.
    """

    def __init__(
        self,
        queue: WorkQueue,
        source: Source,
        runner: Runner,
        reading: Reading,
        ends: Ends,
        events: Events,
        options: WorkerOptions,
        control: Control,
        hand: Hand[Start],
        *,
        others: Others | None = None,
        when_idle: Callable[[], object] = lambda: None,
    ) -> None:
        self.processed = 0
        self.beaten_at = time.monotonic()
        self.last_job_at = 0.0
        self._queue = queue
        self._source = source
        self._runner = runner
        self._read = reading.read
        self._ends = ends
        self._unconfirmed = ends.unconfirmed
        self._events = events
        self._who_hears_of_starts = events.listeners(JobProcessing)
        self._options = options
        self._control = control
        self._hand = hand
        self._others = others
        self._when_idle = when_idle
        self._most = 1 if options.once else options.max_jobs or NEVER

    # for the loop ──────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        """Nothing has to be made ready."""

    def turn(self) -> bool:
        """Run the next job, or wait for one."""
        if self._unconfirmed:
            self._ends.empty_the_bell()
            self._ends.settle_confirmed()
        control, source = self._control, self._source
        # Looked at for each job: the call is left to what seldom is.
        if (control.is_paused or control.is_down or source.said_held is not GOES_ON) and source.is_held():
            self._hold()
            return False
        delivery = self._queue.pop(self._options.queues, 0) or self._pop_idle()
        if delivery is None:
            self._when_idle()
            return False
        if delivery.failure is None:  # what only waits for its record was counted when it ran
            self.processed += 1
            if self.processed >= self._most:
                control.begin_to_stop()  # nothing comes after it: what hangs from here on, hangs at the end
        self.process(delivery)
        if self._options.rest:
            self._source.wait(self._options.rest)
        return True

    def is_empty(self) -> bool:
        """Whether the worker is to stop at the end of its queues, and has come there."""
        return self._source.is_empty()

    def is_exhausted(self) -> bool:
        """Whether the queues were empty when they were last looked at, and no job is in hand."""
        return self._source.is_exhausted()

    @property
    def is_at_work(self) -> bool:
        """Whether a job is in hand."""
        return not self._hand.is_empty()

    def busy_until(self, now: float) -> float:
        """When the handlers in hand are to have ended, at the latest; `now` where there is none."""
        return self._hand.busy_until(now)

    def when_overdue(self, end_process: Callable[[Start], object]) -> Callable[[Start], object]:
        """The process has to end: this thread is what hangs."""
        return end_process

    def finish(self) -> None:
        """Nothing runs when the loop ends."""

    def drain(self, timeout: float) -> bool:
        """Settle the jobs whose pushes are not acknowledged yet; False when some are left."""
        return self._ends.drain(timeout)

    def close(self) -> None:
        """Nothing has to be let go of."""

    def thread_of(self, start: Start) -> int | None:
        """The main thread."""
        return threading.main_thread().ident

    def _hold(self) -> None:
        self.beaten_at = time.monotonic()
        if self._control.between_jobs is not None:
            self._control.between_jobs()
        if self._unconfirmed:
            self._source.serve()
        else:
            self._source.wait(self._options.sleep or 1)

    def _pop_idle(self) -> DriverDelivery | None:
        self.beaten_at = time.monotonic()
        if self._control.between_jobs is not None:
            self._control.between_jobs()
        self._source.tell_idle()
        if self._control.asked or self.is_empty():
            return None
        return self._source.pop(self._options.sleep)

    # one job ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def process(self, delivery: DriverDelivery) -> None:
        """Run one delivery and settle it, exactly once."""
        start = self._runner.start(delivery)
        began = start.began = time.monotonic()
        job_context.set(start)
        if self._read(start) and not (start.entry and start.entry.many and self._process_many(start)):
            timeout = start.policy.timeout
            self._hand.put(start, began + timeout if timeout else NEVER)
            error = None
            try:
                if self._who_hears_of_starts and not start.is_told:
                    event = JobProcessing(start)
                    for listener in self._who_hears_of_starts:
                        returned = listener(event)
                        if returned is not None:
                            check_returned(returned, listener)
                start.may_push_ahead = True
                self._runner.run(start)
            except SlotTerminated:
                raise
            except BaseException as raised:  # SystemExit, too: nobody has asked the worker to end but the job
                error = tellable(raised)
            if not self._hand.take(start):
                never_return(self._hand, error)
            self._ends.end(start, error, time.monotonic() - began)
        self.beaten_at = self.last_job_at = time.monotonic()

    # many jobs in one call ─────────────────────────────────────────────────────────────────────────────────────────

    def _process_many(self, first: Start) -> bool:
        """Run a job together with others that are there; False where it is to be run by itself."""
        many = self._gather(first) if may_gather(first, once=self._options.once) else None
        if many is None or len(many.starts) == 1:
            job_context.set(first)
            return False
        timeout = many.policy.timeout
        many.began = time.monotonic()
        job_context.set(many)
        self._hand.put(many, many.began + timeout if timeout else NEVER)
        error = None
        try:
            if tell_of(many, self._events):
                many.may_push_ahead = True
                self._runner.run(many)
        except SlotTerminated:
            raise
        except BaseException as raised:
            error = tellable(raised)
        if not self._hand.take(many):
            never_return(self._hand, error)
        self._ends.end_many(many, error, time.monotonic() - many.began)
        return True

    def _gather(self, first: Start) -> Many:
        most = self._options.max_jobs
        room = 1 + max(0, most - self.processed) if most else sys.maxsize
        many = begin_many(first, self._runner, most=room)
        if self._others is None:
            self._add_what_comes(many)
        else:
            self._add(many, self._others(first.delivery))
        return many

    def _add(self, many: Many, others: Sequence[DriverDelivery]) -> None:
        """These are to be run in one call, as far as they can be."""
        for delivery in others:
            start = self._runner.start(delivery)
            start.began = many.began
            if self._read(start):
                many.add(start)

    def _add_what_comes(self, many: Many) -> None:
        """What is there of the same class, in its order: as long as nothing else comes, up to its limits."""
        control = self._control
        while not many.is_full:
            delivery = self._pop_within(many.until)
            if delivery is None:
                if time.monotonic() >= many.until or not control.takes_jobs:
                    break
                self._ends.settle_confirmed()
                continue
            start = self._runner.start(delivery)
            start.began = time.monotonic()
            job_context.set(start)
            self.processed += delivery.failure is None
            if not self._read(start):
                continue
            if not many.takes(start):
                self.processed -= 1
                delivery.put_back()
                break
            many.add(start)

    def _pop_within(self, until: float) -> DriverDelivery | None:
        try:
            return self._source.pop(max(0.0, until - time.monotonic()))
        except BaseException:
            job_context.set(None)  # it belongs to none of those that wait for more
            raise
