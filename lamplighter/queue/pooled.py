"""A worker that has several jobs in hand, in the slots of a pool."""

import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from lamplighter.logging.context import job_context
from lamplighter.queue.delivery import DriverDelivery
from lamplighter.queue.events import JobProcessing, WorkerIdle
from lamplighter.queue.pools import Outcome, Pool
from lamplighter.queue.runner import Start
from lamplighter.queue.settling import Verdict
from lamplighter.queue.watch import NEVER
from lamplighter.queue.worker import TURN, Worker


class PooledWorker(Worker):
    """The loop of `queue:work --concurrency=N`: all that is popped, settled and told is so in the thread of `work`."""

    def __init__(self, *arguments: Any, pool: Pool, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._pool = pool
        self._slots = self._options.concurrency
        self._running: set[Start] = set()
        self._ended: SimpleQueue[tuple[Start, Outcome]] = SimpleQueue()
        self._overdue: SimpleQueue[Start] = SimpleQueue()
        self._end_process: Callable[[Start], object] = lambda start: None
        self._is_waiting = False

    def when_overdue(self, end_process: Callable[[Start], object]) -> None:
        """What is done about a job that is overdue, where its slot can't be ended alone."""
        self._end_process = end_process

    def on_overdue(self, start: Start) -> None:
        """Called by the watching thread; the loop's own thread deals with it, since it owns the deliveries."""
        self._overdue.put(start)
        self.bell.put(None)

    def thread_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in; None where it is in another process."""
        return self._pool.stack_of(start)

    def work(self) -> int:
        """Run jobs until there is a reason to stop; the exit code."""
        self._pool.open(self._on_ended)
        try:
            return super().work()
        finally:
            self._pool.close()

    def _turn(self) -> bool:
        self._settle_all()
        if self._pool.failure is not None:
            raise self._pool.failure
        if len(self._running) < self._slots and not self._paused and not self._down:
            delivery = self._queue.pop(self._options.queues, 0)
            if delivery is not None:
                self._take(delivery)
                return True
        self.beaten_at = time.monotonic()
        self._is_waiting = True
        if not self._ended.empty():
            return False
        return self._wait_for_something()

    def _wait_for_something(self) -> bool:
        job_context.set(None)
        if self._running and (len(self._running) >= self._slots or (self._paused or self._down)):
            self._queue.serve(TURN)
            return False
        if self._paused or self._down:
            self._wait(self._options.sleep or 1)
            return False
        if not self._running and self._events.listens(WorkerIdle):
            self.settling.tell(WorkerIdle(self._queue.connection, self._options.queues))
        if self._asked or self._is_empty():
            return False
        delivery = self._queue.pop(self._options.queues, self._options.sleep)
        if delivery is None:
            return False
        self._take(delivery)
        return True

    def _take(self, delivery: DriverDelivery) -> None:
        delivery.keep()
        self.processed += 1
        start = self._runner.start(delivery)
        start.began = time.monotonic()
        job_context.set(start)
        if not self._read(start):
            return
        try:
            if self._events.listens(JobProcessing):
                self._events.dispatch(JobProcessing(start))
        except Exception as error:
            self.settling.settle(start, error, 0.0)
            return
        timeout = start.policy.timeout
        self.hand.put(start, start.began + timeout + self._pool.spare if timeout else NEVER)
        self._running.add(start)
        start.may_push_ahead = True
        self._pool.submit(start)

    def _on_ended(self, start: Start, outcome: Outcome) -> None:
        """A slot has done its work; called from any thread."""
        self._ended.put((start, outcome))
        if self._is_waiting:
            self._is_waiting = False
            self.bell.put(None)

    def _settle_all(self) -> None:
        self._is_waiting = False
        while not self._ended.empty():
            start, outcome = self._ended.get()
            self._running.discard(start)
            self.hand.take(start)
            self._settle_one(start, outcome)
        while not self._overdue.empty():
            start = self._overdue.get()
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
        elif isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
            self._leave(start, outcome)
        else:
            self._end(start, outcome, duration)

    def _finish(self) -> None:
        """Let the jobs in hand come to their ends, each within its own timeout."""
        while self._running:
            self._is_waiting = True
            if self._ended.empty():
                self._queue.serve(TURN)
            self._settle_all()
            self.beaten_at = time.monotonic()
