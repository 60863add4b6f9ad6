"""`queue:background`: the process of one background job; a dispatch starts it, nobody else."""

import faulthandler
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

from lamplighter.console.command import Command
from lamplighter.contracts import Application, Events, ExceptionHandler
from lamplighter.errors import ConsoleError, JobTimedOut, SlotDied, UnreadablePayload
from lamplighter.queue.dispatching.deferring import at_once, deferring, place_here
from lamplighter.queue.drivers.background.handed import Handed, decode
from lamplighter.queue.drivers.background.queue import POSITION
from lamplighter.queue.drivers.deferred import Failures
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.events import JobFailed
from lamplighter.queue.events import JobTimedOut as TimedOut
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.guard.ending import DEAD_MAN, HOOKS, exit_after
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner, Start

RECORD = 40.0  # seconds for recording a job that has run out of its time, and its failed(); SQLite may wait for 30


class BackgroundCommand(Command):
    """Run the job that stands on stdin."""

    name = "queue:background"
    description = "Run a job that was dispatched on a background connection"

    def __init__(
        self,
        app: Application,
        registry: Registry,
        events: Events,
        failed_jobs: FailedJobs,
        handler: ExceptionHandler,
    ) -> None:
        self._app = app
        self._registry = registry
        self._events = events
        self._failed_jobs = failed_jobs
        self._handler = handler

    def handle(self) -> int:
        """0 when the job has run, or is among the failed jobs; else its dispatcher, which was told of neither, writes
        it down."""
        try:
            handed = decode(b"" if sys.stdin.isatty() else sys.stdin.buffer.read())
        except UnreadablePayload as error:
            raise ConsoleError(f"{error} A dispatch on a background connection starts this command.") from error
        for file in (handed.slot, handed.done):
            os.set_inheritable(file, False)  # they are this process's, and not what the job starts
        self._app.leave_within(HOOKS)  # threads that the job has left must not keep the place
        return OneJob(self._app, self._registry, self._events, self._failed_jobs, self._handler, handed).run()


class Stopped(SystemExit):
    """The process was told to end."""


class OneJob:
    """One job, until its end or its timeout: whoever comes first has it, and writes it down."""

    def __init__(
        self,
        app: Application,
        registry: Registry,
        events: Events,
        failed_jobs: FailedJobs,
        handler: ExceptionHandler,
        handed: Handed,
    ) -> None:
        runner = Runner(registry, app, Policy(tries=1, backoff=(), timeout=handed.timeout))
        self._failures = Failures(runner, lambda: failed_jobs, lambda: handler)
        self._inline = Inline(runner, events, after_error=self._fail)
        self._delivery = SyncDelivery(handed.message, handed.connection, handed.queue, position=POSITION)
        self._hand = threading.Lock()
        self._done = handed.done
        self._is_recorded = True

    def run(self) -> int:
        """The exit code."""
        signal.signal(signal.SIGTERM, _stop)
        with at_once(), deferring() as block:
            error = self._inline.run(self._delivery, place_here(), on_start=self._limit)
            if error is None:
                self._take()
            block.has_failed = error is not None
        return self._status(is_safe=self._is_recorded)

    def _status(self, *, is_safe: bool) -> int:
        """The exit code; the dispatcher is told, if it still lives."""
        if not is_safe:
            return 1
        with suppress(OSError):
            os.write(self._done, b"\0")
        return 0

    def _take(self) -> None:
        """End the job in this thread; where the other one has it, that one ends the process."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not self._hand.acquire(blocking=False):
            while True:
                time.sleep(RECORD)
        faulthandler.cancel_dump_traceback_later()

    def _fail(self, start: Start, error: BaseException) -> None:
        self._take()
        if isinstance(error, Stopped):
            told = SlotDied(f"The process of {start.name} was told to end while the job was running.")
            told.__cause__ = error
            error = told
        self._is_recorded = self._failures.keep(start, error)

    def _limit(self, start: Start) -> None:
        timeout = start.policy.timeout
        if not timeout:
            return
        timer = threading.Timer(timeout, self._on_timeout, (start,))
        timer.daemon = True
        timer.start()
        # Code in C that lets no thread run is ended by a C timer; the dispatcher writes the job down.
        faulthandler.dump_traceback_later(timeout + RECORD + DEAD_MAN, exit=True, file=sys.__stderr__ or 2)

    def _on_timeout(self, start: Start) -> None:
        if not self._hand.acquire(blocking=False):
            return
        start.end()
        exit_after(RECORD, 1)
        timeout = start.policy.timeout
        error = JobTimedOut(f"{start.name} has run for {timeout:g} s, which is its timeout.")
        is_recorded = self._failures.keep(start, error)
        self._inline.tell(TimedOut(start, timeout))
        self._inline.tell(JobFailed(start, timeout, error))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(self._status(is_safe=is_recorded))


def _stop(number: int, frame: object) -> NoReturn:
    raise Stopped(128 + number)
