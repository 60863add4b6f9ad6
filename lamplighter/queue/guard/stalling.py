"""What is done about a worker that stands still: it says so, and ends, so that whoever watches it starts another."""

import logging
import threading
import time

from lamplighter.contracts import Events
from lamplighter.queue.delivery import WorkQueue
from lamplighter.queue.events import WorkerStalled
from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.options import WorkerOptions

log = logging.getLogger(__name__)


class Stalling:
    """A chore of the watching thread: the loop's own thread may be what stands still."""

    def __init__(self, worker: Worker, queue: WorkQueue, events: Events, options: WorkerOptions) -> None:
        self._worker = worker
        self._queue = queue
        self._events = events
        self._options = options
        self._is_told = False

    def __call__(self) -> None:
        """Look, and end the worker, once; where its own loop is what stands still, the deadline ends its process."""
        if self._is_told:
            return
        now = time.monotonic()
        worker = self._worker
        is_resting = now - worker.jobs.beaten_at < self._options.rest
        seen = self._queue.stall(is_busy=is_resting or not worker.control.takes_jobs or worker.jobs.is_at_work)
        if seen is None:
            return
        log.error("the worker stands still though there is something to do; it ends", extra={"seen": seen})
        self._is_told = True
        worker.control.ask_to_stop(StopReason.STALLED)
        # A listener that hangs must not keep this thread from ending the process.
        event = WorkerStalled(self._queue.connection, self._options.queues, seen)
        threading.Thread(target=self._events.dispatch, args=(event,), name="lamplighter-stalled", daemon=True).start()
