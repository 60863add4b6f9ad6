"""Slots that are tasks of one event loop: for thousands of jobs whose `handle` is `async def`."""

import asyncio
import threading
from collections import deque
from contextvars import Context

from lamplighter.errors import JobTimedOut
from lamplighter.logging.context import job_context
from lamplighter.queue.pools import Ended
from lamplighter.queue.runner import Runner, Start

SPARE = 5.0  # seconds that a job has after it was cancelled, until the whole process ends


class CoroutinePool:
    """One event loop in a thread of its own. A plain `handle` runs in a thread beside it."""

    def __init__(self, runner: Runner) -> None:
        self.failure: BaseException | None = None
        self.spare = SPARE
        self._runner = runner
        self._loop = asyncio.new_event_loop()
        self._inbox: deque[Start] = deque()
        self._is_called = False
        self._tasks: dict[Start, asyncio.Task[None]] = {}
        self._ended: Ended = lambda start, outcome: None
        self._thread = threading.Thread(target=self._loop.run_forever, name="lamplighter-loop", daemon=True)

    def open(self, ended: Ended) -> None:
        """Start the loop."""
        self._ended = ended
        self._thread.start()

    def submit(self, start: Start) -> None:
        """Run this one; one call wakes the loop for all that have come meanwhile."""
        self._inbox.append(start)
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._begin)

    def overrun(self, start: Start) -> bool:
        """It was cancelled at its timeout and has gone on: only the end of the process ends it."""
        return False

    def stack_of(self, start: Start) -> int | None:
        """The loop's thread."""
        return self._thread.ident

    def close(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _begin(self) -> None:
        self._is_called = False
        while self._inbox:
            start = self._inbox.popleft()
            self._tasks[start] = self._loop.create_task(self._run(start), context=Context())

    async def _run(self, start: Start) -> None:
        job_context.set(start)
        outcome: BaseException | None = None
        timeout = start.policy.timeout
        try:
            async with asyncio.timeout(timeout or None) as limit:
                await self._runner.run_async(start)
        except TimeoutError as error:
            outcome = error
            if limit.expired():
                outcome = JobTimedOut(f"{start.name} has run for {timeout:g} s, which is its timeout.")
        except asyncio.CancelledError:
            outcome = RuntimeError(f"{start.name} has cancelled its own task.")
        except BaseException as error:
            outcome = error
        del self._tasks[start]
        self._ended(start, outcome)
