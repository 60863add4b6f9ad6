"""Jobs that run beside each other, in the slots of a pool."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from lamplighter.contracts import DriverDelivery, Events, WorkQueue
from lamplighter.logging.context import job_context
from lamplighter.queue.events import JobProcessing
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.guard.children import leave
from lamplighter.queue.guard.control import NEVER, Control
from lamplighter.queue.guard.deadlines import Hand, never_return
from lamplighter.queue.guard.health import LATE
from lamplighter.queue.guard.timers import spawn
from lamplighter.queue.pools.gathering import Gathering
from lamplighter.queue.pools.pool import Outcome, Pool
from lamplighter.queue.worker.ends import Ends
from lamplighter.queue.worker.many import Many, begin_many, may_gather, tell_of
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.reading import Reading
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.settling import Settling
from lamplighter.queue.worker.source import Source
from lamplighter.queue.worker.verdicts import Verdict

LOOK = 0.05  # seconds between two looks whether the pool is ready


class Concurrent:
    """All that is popped, settled and told is so in the thread of the loop; only handlers run in the pool."""

    def __init__(
        self,
        queue: WorkQueue,
        source: Source,
        runner: Runner,
        reading: Reading,
        ends: Ends,
        settling: Settling,
        events: Events,
        options: WorkerOptions,
        control: Control,
        hand: Hand[Start],
        *,
        pool: Pool,
    ) -> None:
        self.processed = 0
        self.beaten_at = time.monotonic()
        self.last_job_at = 0.0
        self._queue = queue
        self._source = source
        self._runner = runner
        self._read = reading.read
        self._ends = ends
        self._settling = settling
        self._events = events
        self._options = options
        self._control = control
        self._hand = hand
        self._pool = pool
        self._slots = options.concurrency
        self._running: set[Start] = set()
        self._gathering = Gathering()
        self._ended: SimpleQueue[tuple[Start, Outcome]] = SimpleQueue()
        self._overdue: SimpleQueue[Start] = SimpleQueue()
        self._end_process: Callable[[Start], object] = lambda start: None
        self._late: set[Start] = set()  # those that are overdue, and that the loop has not dealt with
        self._is_waiting = False

    # for the loop ──────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        """Have a slot that is ready: what a worker takes from others while its own processes boot stands still."""
        self._pool.open(self._on_ended)
        while not (self._pool.is_ready or self._control.asked):
            if self._pool.failure is not None:
                raise self._pool.failure
            with suppress(Empty):
                self._control.bell.get(timeout=LOOK)
        self.beaten_at = time.monotonic()

    def turn(self) -> bool:
        """Begin the next job where a slot is free, settle what has ended, or wait for either."""
        self._settle_all()
        if self._pool.failure is not None:
            raise self._pool.failure
        is_held = self._source.is_held()
        delivery, has_joined = None, False
        if len(self._running) < self._slots and not is_held:
            delivery = self._queue.pop(self._options.queues, 0)
            has_joined = delivery is not None and self._take(delivery)
        if self._gathering and not has_joined:
            self._begin_gathered(NEVER if is_held else time.monotonic())
        if delivery is not None:
            return True
        self.beaten_at = time.monotonic()
        self._is_waiting = True
        if not self._ended.empty():
            return False
        return self._wait_for_something(is_held=is_held)

    def is_empty(self) -> bool:
        """Whether the worker is to stop at the end of its queues, and has come there."""
        return not self._gathering and self._source.is_empty()

    def is_exhausted(self) -> bool:
        """Whether the queues were empty when they were last looked at, and no job is in hand."""
        return not self._gathering and self._source.is_exhausted()

    @property
    def is_at_work(self) -> bool:
        """Whether a job is in hand; those in slots say so only while the loop turns, since it settles them."""
        is_turning = time.monotonic() - self.beaten_at < LATE + self._options.sleep
        return len(self._hand) > len(self._running) or (is_turning and not self._hand.is_empty())

    def busy_until(self, now: float) -> float:
        """When the handlers in hand, and those of calls that are still to begin, are to have ended at the latest."""
        until = self._hand.busy_until(now, has_ended=self._pool.has_ended)
        return until + max((many.policy.timeout or NEVER for many in self._gathering.calls()), default=0.0)

    def finish(self) -> None:
        """Let the jobs in hand come to their ends, each within its own timeout."""
        while self._running or self._gathering:
            self._begin_gathered(NEVER)
            job_context.set(None)
            self._is_waiting = True
            if self._ended.empty():
                self._source.serve()
            self._settle_all()
            self.beaten_at = time.monotonic()

    def drain(self, timeout: float) -> bool:
        """Settle the jobs whose pushes are not acknowledged yet; False when some are left."""
        return self._ends.drain(timeout)

    def close(self) -> None:
        """Let go of the slots."""
        self._pool.close()

    def thread_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in; None where it is in another process."""
        return self._pool.stack_of(start)

    # what is overdue ───────────────────────────────────────────────────────────────────────────────────────────────

    def when_overdue(self, end_process: Callable[[Start], object]) -> Callable[[Start], object]:
        """What the watching thread does about a job that is overdue."""
        self._end_process = end_process
        return self._on_overdue

    def _on_overdue(self, start: Start) -> None:
        """Called by the watching thread; the loop's own thread deals with a slot, since it owns the deliveries.

        Where the loop's thread itself is what hangs, the process has to end: it records the failure of this job, or
        tells that it begins, or hangs in something else.
        """
        if start not in self._running:
            self._end_process(start)
            return
        self._late.add(start)
        self._overdue.put(start)
        self._control.bell.put(None)
        if not spawn(lambda: self._end_if_late(start)):
            self._end_process(start)

    def _end_if_late(self, start: Start) -> None:
        time.sleep(LATE)
        if start in self._late:
            self._end_process(start)

    # beginning ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_for_something(self, *, is_held: bool) -> bool:
        job_context.set(None)
        if self._running and (len(self._running) >= self._slots or is_held):
            self._source.serve()
            return False
        if is_held:
            self._source.wait(self._options.sleep or 1)
            return False
        if not self._running:
            self._source.tell_idle()
        if self._control.asked or self.is_empty():
            return False
        left = self._gathering.until - time.monotonic()
        delivery = self._source.pop(max(0.0, min(self._options.sleep, left)))
        if delivery is None:
            return False
        self._take(delivery)
        return True

    def _take(self, delivery: DriverDelivery) -> bool:
        """Begin a job; True where it has joined others that wait for more."""
        self.processed += delivery.failure is None  # what only waits for its record was counted when it ran
        start = self._runner.start(delivery)
        start.began = time.monotonic()
        job_context.set(start)
        if not self._read(start):
            return False
        entry, gathering = start.entry, self._gathering
        if gathering.loose is not None or (entry is not None and entry.many is not None):
            if may_gather(start, once=self._options.once) and self._join(start):
                return True
            if gathering.loose is not None:
                self._make_way(start)
                return False
        delivery.keep()
        self._begin(start)
        return False

    def _begin(self, start: Start) -> None:
        if start.is_told or not self._events.listeners(JobProcessing):
            self._submit(start)
            return
        error = self._tell(start, lambda: self._events.dispatch(JobProcessing(start)))
        if error is None:
            self._submit(start)
        else:
            self._settling.settle(start, error, 0.0)

    def _tell(self, start: Start, tell: Callable[[], object]) -> BaseException | None:
        """Tell listeners, in this thread and within the time of the job that begins; what they have raised."""
        timeout = start.policy.timeout
        self._hand.put(start, start.began + timeout if timeout else NEVER)
        error = None
        try:
            tell()
        except BaseException as raised:
            error = tellable(raised)
        if not self._hand.take(start):
            never_return(self._hand, error)
        return error

    def _submit(self, start: Start) -> None:
        timeout = start.policy.timeout
        self._hand.put(start, start.began + timeout + self._pool.spare if timeout else NEVER)
        self._running.add(start)
        start.may_push_ahead = True
        self._pool.submit(start)

    # many jobs in one call ─────────────────────────────────────────────────────────────────────────────────────────

    def _join(self, start: Start) -> bool:
        """Let a job wait with others of its class; False when it has to come after those that are not kept yet."""
        many = self._gathering.find(start)
        if self._gathering.loose not in (None, many):
            return False
        if many is None:
            most = self._options.max_jobs
            room = 1 + max(0, most - self.processed) if most else sys.maxsize
            many = begin_many(start, self._runner, most=room)
            self._gathering.add(many)
        else:
            self._gathering.join(many, start)
        if many.is_full:
            self._begin_many(many)
        return True

    def _make_way(self, start: Start) -> None:
        """Something else has come: it may have to wait for those that are gathered, so it is popped after them."""
        self._gathering.keep()
        self.processed -= 1
        start.delivery.singly = start.is_told
        start.delivery.put_back()

    def _begin_gathered(self, now: float) -> None:
        """Begin those that have waited long enough, as far as there are slots."""
        for many in self._gathering.due(now):
            if len(self._running) < self._slots:
                self._begin_many(many)

    def _begin_many(self, many: Many) -> None:
        self._gathering.remove(many)
        if len(many.starts) == 1:
            job_context.set(many.starts[0])
            self._begin(many.starts[0])
            return
        many.began = time.monotonic()
        job_context.set(many)
        self._tell(many, lambda: tell_of(many, self._events))
        if many.handled():
            self._submit(many)
        else:
            self._ends.end_many(many, None, 0.0)

    # ending ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_ended(self, start: Start, outcome: Outcome) -> None:
        """A slot has done its work; called from any thread, and in a child that a job has forked in one."""
        if self._hand.is_parents:
            leave(outcome if isinstance(outcome, BaseException) else None)
        self._ended.put((start, outcome))
        if self._is_waiting:
            self._is_waiting = False
            self._control.bell.put(None)

    def _settle_all(self) -> None:
        self._is_waiting = False
        self._ends.empty_the_bell()
        while not self._ended.empty():
            start, outcome = self._ended.get()
            self._running.discard(start)
            self._hand.take(start)
            self._settle(start, outcome)
        while not self._overdue.empty():
            start = self._overdue.get()
            self._late.discard(start)
            if start in self._running and not self._pool.overrun(start):
                self._end_process(start)
            self._hand.let_go(start)
        if self._ends.unconfirmed:
            self._ends.settle_confirmed()
        job_context.set(None)  # what goes wrong from here on belongs to none of those that are in slots

    def _settle(self, start: Start, outcome: Outcome) -> None:
        job_context.set(start)
        self.last_job_at = time.monotonic()
        duration = self.last_job_at - start.began
        start.may_push_ahead = False
        if isinstance(outcome, Verdict):
            self._settling.obey(start, outcome, duration)
        elif isinstance(start, Many):
            self._ends.end_many(start, outcome, duration)
        else:
            self._ends.end(start, outcome, duration)
