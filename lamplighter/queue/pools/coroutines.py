"""Slots that are tasks of one event loop: for thousands of jobs whose `handle` is `async def`."""

import asyncio
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as executors
from contextvars import Context
from typing import Any

from lamplighter.errors import JobTimedOut
from lamplighter.logging.context import job_context
from lamplighter.queue.failed.trace import add_note, tellable
from lamplighter.queue.guard.children import leave
from lamplighter.queue.pools.pool import Ended
from lamplighter.queue.pools.precise import precise_selector
from lamplighter.queue.pools.threads import run_here
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

TICK = 0.1  # seconds between two looks for jobs that are overdue
SPARE = 5.0  # seconds from a job's timeout, at which it is cancelled where it can be, to the end of the process


class CoroutinePool:
    """One event loop in a thread of its own. A plain `handle` runs in a thread beside it, which nothing can cancel."""

    def __init__(self, runner: Runner, slots: int) -> None:
        self.failure: BaseException | None = None
        self.is_ready = True
        self.spare = SPARE
        self._runner = runner
        self._loop = asyncio.SelectorEventLoop(precise_selector())
        self._inbox: deque[Start] = deque()
        self._is_called = False
        self._is_closed = False
        self._is_parents = False
        self._overdue: set[Start] = set()
        self._tasks: dict[Start, asyncio.Task[None]] = {}
        self._ended: Ended = lambda start, outcome: None
        self._plain = ThreadPoolExecutor(slots, thread_name_prefix="lamplighter-slot")
        self._threads: dict[Start, int] = {}
        self._thread = threading.Thread(target=self._serve, name="lamplighter-loop", daemon=True)
        watch(self, in_child=CoroutinePool._begin_as_child)

    def open(self, ended: Ended) -> None:
        """Start the loop."""
        self._ended = ended
        self._loop.call_soon(self._cancel_overdue)
        self._thread.start()

    def submit(self, start: Start) -> None:
        """Run this one; one call wakes the loop for all that have come meanwhile."""
        if start.entry is not None and not start.entry.is_async:
            self._plain.submit(run_here, start, self._runner, self._threads, self._ended)
            return
        self._inbox.append(start)
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._begin)

    def overrun(self, start: Start) -> bool:
        """It went on though it was cancelled, or can't be cancelled: only the end of the process ends it."""
        return False

    def has_ended(self, start: Start) -> bool:
        """The worker's own thread records failures."""
        return False

    def stack_of(self, start: Start) -> int | None:
        """The thread of a plain one, else the loop's."""
        return self._threads.get(start, self._thread.ident)

    def close(self) -> None:
        """Stop the loop."""
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _begin_as_child(self) -> None:
        self._is_parents = True
        # A child that waits in the loop would go on with the jobs of all others: it ends before any of them.
        loop: Any = self._loop
        loop._ready.appendleft(asyncio.Handle(leave, (), loop))
        # At its end a process of `multiprocessing` waits for the threads of executors, and here it would be one itself.
        queues: Any = executors._threads_queues
        queues.pop(threading.current_thread(), None)

    def _serve(self) -> None:
        while not self._is_closed:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                if self._is_parents:
                    leave(error)
                # These two leave a loop at once, when a task or a callback raises them that a job has made beside its
                # own. Whoever awaits the task gets the error; the other jobs of this loop go on.
                log.error("a task or a callback beside a job has raised; the loop goes on", exc_info=tellable(error))
        self._loop.close()

    def _begin(self) -> None:
        self._is_called = False
        while self._inbox:
            start = self._inbox.popleft()
            self._tasks[start] = self._loop.create_task(self._run(start), context=Context())

    async def _run(self, start: Start) -> None:
        job_context.set(start)
        outcome: BaseException | None = None
        try:
            await self._runner.run_async(start)
        except asyncio.CancelledError as error:
            outcome = self._error_of(start, error)
        except BaseException as error:
            outcome = tellable(error)
        self._overdue.discard(start)
        del self._tasks[start]
        self._ended(start, outcome)

    def _cancel_overdue(self) -> None:
        """One look at all jobs ten times a second costs less than a timer for each."""
        now = time.monotonic()
        for start, task in list(self._tasks.items()):
            if task.done():
                self._begin_again(start)
                continue
            timeout = start.policy.timeout
            if timeout and now >= start.began + timeout and start not in self._overdue:
                self._overdue.add(start)
                task.cancel()
        self._loop.call_later(TICK, self._cancel_overdue)

    def _begin_again(self, start: Start) -> None:
        """Its task was cancelled before it took its first step: by a job that cancels others, or by its timeout."""
        if start not in self._overdue:
            self._tasks[start] = self._loop.create_task(self._run(start), context=Context())
            return
        self._overdue.discard(start)
        del self._tasks[start]
        self._ended(start, _timed_out(start))

    def _error_of(self, start: Start, error: asyncio.CancelledError) -> BaseException:
        if start in self._overdue:
            return _timed_out(start)
        add_note(error, f"{start.name} was cancelled, and not for its timeout: by itself, or by another job.")
        return tellable(error)


def _timed_out(start: Start) -> JobTimedOut:
    return JobTimedOut(f"{start.name} has run for {start.policy.timeout:g} s, which is its timeout.")
