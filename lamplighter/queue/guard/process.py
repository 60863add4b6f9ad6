"""A worker as a process: its threads, its signals, and the way out."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from lamplighter.contracts import Events, WorkQueue
from lamplighter.errors import ConsoleError
from lamplighter.queue.guard.children import only_in_the_parent
from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.guard.ending import Deadline, bounded, within
from lamplighter.queue.guard.garbage import spare_the_collector
from lamplighter.queue.guard.health import LATE, Heartbeat
from lamplighter.queue.guard.pausing import PauseWatch
from lamplighter.queue.guard.restart import RestartWatch
from lamplighter.queue.guard.signals import handled
from lamplighter.queue.guard.stalling import Stalling
from lamplighter.queue.guard.watch import Chore, Watch
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.overdue import Overdue
from lamplighter.queue.worker.runner import Start

log = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
SPARE = 2.0  # seconds of the shutdown that are kept for everything but committing and leaving


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """Everything around the loop.

    Attributes:
        flush: writes the lines that wait to be shown.
        leave_within: is told how many seconds the process has for its end, when all is done.
    """

    worker: Worker
    queue: WorkQueue
    failing: Failing
    events: Events
    options: WorkerOptions
    heartbeat: Heartbeat
    restart: RestartWatch
    pauses: PauseWatch
    flush: Callable[[], object]
    leave_within: Callable[[float], object]

    def run(self) -> int:
        """Work until there is a reason to stop, commit, leave; the exit code."""
        self._refuse_too_little_memory()
        control = self.worker.control
        deadline = Deadline(control, self.worker.jobs.busy_until, self.options.shutdown, tell=self.worker.hand.end_by)
        deadline.start()
        try:
            with handled(control) as look_for_signals:
                return self._run(deadline, look_for_signals)
        finally:
            control.begin_to_stop()
            self.leave_within(deadline.left())
            deadline.call_off()

    def _run(self, deadline: Deadline, look_for_signals: Callable[[], None]) -> int:
        worker, control = self.worker, self.worker.control
        status = 1
        watch = self._watch(deadline, look_for_signals)
        worker.jobs.prepare()
        self.pauses.look()
        self.queue.open(self.options.queues, control.bell, worker.has_further_start, slots=self.options.slots)
        watch.start()
        spare_the_collector()
        self.pauses.start()
        self.restart.begin(lambda: control.ask_to_stop(StopReason.RESTART_SIGNAL))
        try:
            with only_in_the_parent():
                status = worker.work()
        finally:
            control.begin_to_stop()
            self.restart.end()
            self.pauses.end()
            watch.end()
            try:
                is_closed = self._close(deadline)
            finally:
                self.heartbeat.remove()
        if not is_closed:
            log.error("the broker did not answer; unfinished commits are given up, their jobs run again")
            return status or 1
        return status

    def _close(self, deadline: Deadline) -> bool:
        seconds = max(1.0, min(self.options.shutdown, deadline.left()) - SPARE)
        began = time.monotonic()
        with bounded(seconds + SPARE):
            try:
                self.worker.drain(seconds / 2)
            finally:
                within(seconds / 2, self.flush)
                is_closed = self.queue.close(timeout=max(1.0, began + seconds - time.monotonic()))
            return is_closed

    def _watch(self, deadline: Deadline, look_for_signals: Callable[[], None]) -> Watch[Start]:
        control, options = self.worker.control, self.options
        overdue = Overdue(
            self.queue,
            self.failing,
            self.events,
            self.flush,
            thread_of=self.worker.jobs.thread_of,
            shutdown=options.shutdown,
            take_over=deadline.take_over,
            status=control.status,
            going_on=self.worker.hand.go_on,
        )
        stalling = Stalling(self.worker.jobs, control, self.queue, self.events, options.queues, rest=options.rest)
        chores = [
            Chore(0.1, look_for_signals),
            Chore(0.1, self.flush),
            Chore(0.5, self.worker.look_for_maintenance),
            Chore(1.0, stalling),
            Chore(5.0, self.beat),
        ]
        if options.memory:
            chores.append(Chore(1.0, self._look_at_memory))
        return Watch(self.worker.hand, self.worker.jobs.when_overdue(overdue), chores, limit=deadline.settle_by)

    def _look_at_memory(self) -> None:
        if resident() >= self.options.memory:
            self.worker.control.ask_to_stop(StopReason.MEMORY)

    def _refuse_too_little_memory(self) -> None:
        present = resident()
        if self.options.memory and present >= self.options.memory:
            raise ConsoleError(
                f"--memory={self.options.memory} is less than the {present:.0f} MB that the worker has at its start: "
                f"it would end at once. Give it more, or --memory=0 for no limit."
            )

    def beat(self) -> None:
        """Write down which of the two threads goes on."""
        now = time.monotonic()
        waits = max(self.options.sleep, self.options.rest)
        if self.worker.jobs.is_at_work or now - self.worker.jobs.beaten_at < LATE + waits:
            self.heartbeat.beat("worker")
        if now - self.queue.polled_at() < LATE:
            self.heartbeat.beat("polling")
        self.heartbeat.write()


def resident() -> float:
    """The memory that this process has now, in megabytes; not its peak."""
    return float(psutil.Process().memory_info().rss) / MEGABYTE
