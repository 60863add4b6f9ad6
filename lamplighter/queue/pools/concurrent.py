"""A worker that has several jobs in hand, in the slots of a pool."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from lamplighter.logging.context import job_context
from lamplighter.queue.delivery import DriverDelivery
from lamplighter.queue.events import JobProcessing, WorkerIdle
from lamplighter.queue.guard.children import leave
from lamplighter.queue.guard.control import NEVER
from lamplighter.queue.pools.pool import Outcome, Pool
from lamplighter.queue.worker.loop import GOES_ON, TURN, Worker
from lamplighter.queue.worker.many import Many
from lamplighter.queue.worker.runner import Start
from lamplighter.queue.worker.settling import never_return
from lamplighter.queue.worker.verdicts import Verdict

LATE = 10.0  # seconds without a turn of its loop until a thread counts as standing still
LOOK = 0.05  # seconds between two looks whether the pool is ready


class PooledWorker(Worker):
    """The loop of `queue:work --concurrency=N`: all that is popped, settled and told is so in the thread of `work`."""

    def __init__(self, *arguments: Any, pool: Pool, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._pool = pool
        self._slots = self._options.concurrency
        self._running: set[Start] = set()
        self._gathered: list[Many] = []
        self._loose: Many | None = None  # the one of them whose jobs are not kept, since nothing else came after them
        self._ended: SimpleQueue[tuple[Start, Outcome]] = SimpleQueue()
        self._overdue: SimpleQueue[Start] = SimpleQueue()
        self._end_process: Callable[[Start], object] = lambda start: None
        self._late: set[Start] = set()  # those that are overdue, and that the loop has not dealt with
        self._is_waiting = False

    def when_overdue(self, end_process: Callable[[Start], object]) -> None:
        """What is done about a job that is overdue, where its slot can't be ended alone."""
        self._end_process = end_process

    def on_overdue(self, start: Start) -> None:
        """Called by the watching thread; the loop's own thread deals with a slot, since it owns the deliveries.

        Where the loop's thread itself is what hangs, the process has to end: it records the failure of this job, or
        tells that it begins, or hangs in something else.
        """
        if start not in self._running:
            self._end_process(start)
            return
        self._late.add(start)
        self._overdue.put(start)
        self.control.bell.put(None)
        timer = threading.Timer(LATE, self._end_if_late, (start,))
        timer.daemon = True
        timer.start()

    def _end_if_late(self, start: Start) -> None:
        if start in self._late:
            self._end_process(start)

    def busy_until(self, now: float) -> float:
        """When the handlers in hand, and those of calls that are still to begin, are to have ended at the latest."""
        until = self.hand.busy_until(now, has_ended=self._pool.has_ended)
        timeouts = [many.policy.timeout or NEVER for many in list(self._gathered)]
        return until + max(timeouts, default=0.0)

    def thread_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in; None where it is in another process."""
        return self._pool.stack_of(start)

    @property
    def is_at_work(self) -> bool:
        """Whether the loop has a job in hand; those in slots say so only while it turns, since it settles them."""
        is_turning = time.monotonic() - self.beaten_at < LATE + self._options.sleep
        return len(self.hand) > len(self._running) or (is_turning and super().is_at_work)

    def prepare(self) -> None:
        """Have a slot that is ready: what a worker takes from others while its own processes boot stands still."""
        self._pool.open(self._on_ended)
        while not (self._pool.is_ready or self.control.asked):
            if self._pool.failure is not None:
                raise self._pool.failure
            with suppress(Empty):
                self.control.bell.get(timeout=LOOK)
        self.beaten_at = time.monotonic()

    def work(self) -> int:
        """Run jobs until there is a reason to stop; the exit code."""
        try:
            return super().work()
        finally:
            self._pool.close()

    def _turn(self) -> bool:
        self._settle_all()
        if self._pool.failure is not None:
            raise self._pool.failure
        is_held = self.control.is_held
        if is_held or self._said_held is not GOES_ON:
            self._say_why_held()
        delivery, has_joined = None, False
        if len(self._running) < self._slots and not is_held:
            delivery = self._queue.pop(self._options.queues, 0)
            has_joined = delivery is not None and self._take(delivery)
        if self._gathered and not has_joined:
            self._begin_gathered(NEVER if is_held else time.monotonic())
        if delivery is not None:
            return True
        self.beaten_at = time.monotonic()
        self._is_waiting = True
        if not self._ended.empty():
            return False
        return self._wait_for_something(is_held=is_held)

    def _wait_for_something(self, *, is_held: bool) -> bool:
        job_context.set(None)
        left = min((many.until for many in self._gathered), default=NEVER) - time.monotonic()
        if self._running and (len(self._running) >= self._slots or is_held):
            self._queue.serve(TURN)
            return False
        if is_held:
            self._wait(self._options.sleep or 1)
            return False
        if not self._running and self._events.listeners(WorkerIdle):
            self.settling.tell(WorkerIdle(self._queue.connection, self._options.queues))
        if self.control.asked or self._is_empty():
            return False
        delivery = self._queue.pop(self._options.queues, max(0.0, min(self._options.sleep, left)))
        if delivery is None:
            return False
        self._take(delivery)
        return True

    def _is_empty(self) -> bool:
        return not self._gathered and super()._is_empty()

    def _take(self, delivery: DriverDelivery) -> bool:
        """Begin a job; True where it has joined others that wait for more."""
        self.processed += 1
        start = self._runner.start(delivery)
        start.began = time.monotonic()
        job_context.set(start)
        if not self._read(start):
            return False
        entry = start.entry
        if self._loose is not None or (entry is not None and entry.many is not None):
            if self._may_gather(start) and self._join(start):
                return True
            if self._loose is not None:
                self._make_way(start)
                return False
        delivery.keep()
        self._begin(start)
        return False

    def _begin(self, start: Start) -> None:
        if start.is_told or not self._events.listeners(JobProcessing):
            self._submit(start)
            return
        timeout = start.policy.timeout
        self.hand.put(start, start.began + timeout if timeout else NEVER)
        error = None
        try:
            self._events.dispatch(JobProcessing(start))
        except BaseException as raised:
            error = raised
        if not self.hand.take(start):
            never_return(self.hand, error)
        if error is None:
            self._submit(start)
        else:
            self.settling.settle(start, error, 0.0)

    def _submit(self, start: Start) -> None:
        timeout = start.policy.timeout
        self.hand.put(start, start.began + timeout + self._pool.spare if timeout else NEVER)
        self._running.add(start)
        start.may_push_ahead = True
        self._pool.submit(start)

    # many jobs in one call ─────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, start: Start) -> bool:
        """Let a job wait with others of its class; False when it has to come after those that are not kept yet."""
        many = next((many for many in self._gathered if many.takes(start)), None)
        if self._loose is not None and many is not self._loose:
            return False
        if many is None:
            # Jobs of one key may be in one call: they are kept only when something else comes.
            self._loose = many = self._many(start)
            self._gathered.append(many)
        else:
            many.add(start)
            if many is not self._loose:
                start.delivery.keep()
        if many.is_full:
            self._begin_many(many)
        return True

    def _make_way(self, start: Start) -> None:
        """Something else has come: it may have to wait for those that are gathered, so it is popped after them."""
        if self._loose is not None:
            self._loose.keep()
            self._loose = None
        self.processed -= 1
        start.delivery.singly = start.is_told
        start.delivery.put_back()

    def _begin_gathered(self, now: float) -> None:
        """Begin those that have waited long enough, as far as there are slots."""
        for many in [many for many in self._gathered if many.until <= now]:
            if len(self._running) < self._slots:
                self._begin_many(many)

    def _begin_many(self, many: Many) -> None:
        self._gathered.remove(many)
        if many is self._loose:
            many.keep()
            self._loose = None
        if len(many.starts) == 1:
            self._begin(many.starts[0])
            return
        many.began = time.monotonic()
        timeout = many.policy.timeout
        self.hand.put(many, many.began + timeout if timeout else NEVER)
        is_any_left = self._tell_of(many)
        if not self.hand.take(many):
            never_return(self.hand)
        if is_any_left:
            self._submit(many)
        else:
            self._end_many(many, None, 0.0)

    def _on_ended(self, start: Start, outcome: Outcome) -> None:
        """A slot has done its work; called from any thread, and in a child that a job has forked in one."""
        if self.hand.is_parents:
            leave(outcome if isinstance(outcome, BaseException) else None)
        self._ended.put((start, outcome))
        if self._is_waiting:
            self._is_waiting = False
            self.control.bell.put(None)

    def _settle_all(self) -> None:
        self._is_waiting = False
        self._empty_the_bell()
        while not self._ended.empty():
            start, outcome = self._ended.get()
            self._running.discard(start)
            self.hand.take(start)
            self._settle_one(start, outcome)
        while not self._overdue.empty():
            start = self._overdue.get()
            self._late.discard(start)
            if start in self._running and not self._pool.overrun(start):
                self._end_process(start)
        if self._unconfirmed:
            self._settle_confirmed()

    def _settle_one(self, start: Start, outcome: Outcome) -> None:
        job_context.set(start)
        self._last_job_at = time.monotonic()
        duration = self._last_job_at - start.began
        start.may_push_ahead = False
        if isinstance(outcome, Verdict):
            self.settling.obey(start, outcome, duration)
        elif isinstance(start, Many):
            self._end_many(start, outcome, duration)
        else:
            self._end(start, outcome, duration)

    def _finish(self) -> None:
        """Let the jobs in hand come to their ends, each within its own timeout."""
        while self._running or self._gathered:
            self._begin_gathered(NEVER)
            self._is_waiting = True
            if self._ended.empty():
                self._queue.serve(TURN)
            self._settle_all()
            self.beaten_at = time.monotonic()
