"""Slots that are tasks of one event loop: for thousands of jobs whose `handle` is `async def`."""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

from lamplighter.errors import JobTimedOut
from lamplighter.logging.context import job_context
from lamplighter.queue.pools import Ended
from lamplighter.queue.pools.precise import precise_selector
from lamplighter.queue.pools.threads import run_here
from lamplighter.queue.runner import Runner, Start

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
        self._overdue: set[Start] = set()
        self._tasks: dict[Start, asyncio.Task[None]] = {}
        self._ended: Ended = lambda start, outcome: None
        self._plain = ThreadPoolExecutor(slots, thread_name_prefix="lamplighter-slot")
        self._threads: dict[Start, int] = {}
        self._thread = threading.Thread(target=self._serve, name="lamplighter-loop", daemon=True)

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

    def stack_of(self, start: Start) -> int | None:
        """The thread of a plain one, else the loop's."""
        return self._threads.get(start, self._thread.ident)

    def close(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self) -> None:
        self._loop.run_forever()
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
        except asyncio.CancelledError:
            outcome = self._error_of(start)
        except BaseException as error:
            outcome = error
        del self._tasks[start]
        self._ended(start, outcome)

    def _cancel_overdue(self) -> None:
        """One look at all jobs ten times a second costs less than a timer for each."""
        now = time.monotonic()
        for start, task in list(self._tasks.items()):
            timeout = start.policy.timeout
            if timeout and now >= start.began + timeout and start not in self._overdue:
                self._overdue.add(start)
                task.cancel()
        self._loop.call_later(TICK, self._cancel_overdue)

    def _error_of(self, start: Start) -> Exception:
        if start not in self._overdue:
            return RuntimeError(f"{start.name} has cancelled its own task.")
        self._overdue.discard(start)
        return JobTimedOut(f"{start.name} has run for {start.policy.timeout:g} s, which is its timeout.")
