"""What has run is settled: at once, or when all that it has pushed is acknowledged."""

import logging
import time
from queue import SimpleQueue

from lamplighter.contracts import WorkQueue
from lamplighter.logging.context import job_context
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.worker.many import Many, settle_many
from lamplighter.queue.worker.runner import Start
from lamplighter.queue.worker.settling import Settling

log = logging.getLogger(__name__)

FOREVER = 1e6  # seconds; the connection says when a push has failed
SERVE = 0.05  # seconds of one look for acknowledgements


class Ends:
    """The ends of jobs, for the thread that owns the worker's loop.

    Args:
        awaits_pushes: nothing else begins before what a job has pushed is acknowledged.

    Attributes:
        unconfirmed: the jobs that have run and wait for their pushes, with their errors and durations.
    """

    def __init__(
        self, queue: WorkQueue, settling: Settling, bell: SimpleQueue[object], *, awaits_pushes: bool = False
    ) -> None:
        self.unconfirmed: dict[Start, tuple[BaseException | None, float]] = {}
        self._queue = queue
        self._settling = settling
        self._bell = bell
        self._awaits_pushes = awaits_pushes
        self._confirmed: SimpleQueue[Start] = SimpleQueue()

    def end(self, start: Start, error: BaseException | None, duration: float) -> None:
        """Settle a job that has run, or let it wait for what it has pushed: its queue must have it first."""
        start.may_push_ahead = False
        if start.pushes is not None:
            start.delivery.keep()
            self._wait_for_pushes(start, error, duration)
        elif error is None and start.view is None:
            self._settling.done(start, duration)
        else:
            self._settling.settle(start, error, duration)

    def end_many(self, many: Many, error: BaseException | None, duration: float) -> None:
        """Settle the jobs of a call, when all that the call has pushed is acknowledged."""
        many.may_push_ahead = False
        if many.pushes is None:
            settle_many(many, self._settling, error, duration)
        else:
            many.keep()
            self._wait_for_pushes(many, error, duration)

    def settle_confirmed(self) -> None:
        """Settle the jobs whose pushes are acknowledged, or have failed."""
        while not self._confirmed.empty():
            start = self._confirmed.get()
            error, duration = self.unconfirmed.pop(start)
            job_context.set(start)
            if start.pushes is not None and start.pushes.error is not None:
                error = _after_refusal(start, error, start.pushes.error)
            if isinstance(start, Many):
                settle_many(start, self._settling, error, duration)
            else:
                self._settling.settle(start, error, duration)

    def drain(self, timeout: float) -> bool:
        """Settle the jobs whose pushes are not acknowledged yet; False when some are left after `timeout` seconds."""
        until = time.monotonic() + timeout
        while self.unconfirmed and time.monotonic() < until:
            self._queue.serve(min(SERVE, timeout))
            self.settle_confirmed()
        return not self.unconfirmed

    def empty_the_bell(self) -> None:
        """Before a turn looks at anything: whoever rang has said before what for, and who rings from now on is heard.

        What a busy worker left in it would wake it for nothing when it waits, once for each job.
        """
        while not self._bell.empty():
            self._bell.get()

    def _wait_for_pushes(self, start: Start, error: BaseException | None, duration: float) -> None:
        self.unconfirmed[start] = error, duration
        assert start.pushes is not None
        if not start.pushes.when_reported(lambda: self._on_confirmed(start)):
            self._on_confirmed(start)
        job_context.set(None)  # the loop goes on without it
        if self._awaits_pushes:
            self.settle_confirmed()
            self.drain(FOREVER)
            self.empty_the_bell()

    def _on_confirmed(self, start: Start) -> None:
        """All that a job has pushed is acknowledged, or has failed; called from any thread."""
        self._confirmed.put(start)
        self._bell.put(None)


def _after_refusal(start: Start, error: BaseException | None, refusal: Exception) -> BaseException:
    """The error that counts of a job whose pushes have failed: it is not done, whatever it has asked for."""
    for one in start.starts if isinstance(start, Many) else (start,):
        one.undo_deletion()
    if error is None:
        return refusal
    fields = {"job": start.name, "position": start.delivery.position, "reason": one_line(refusal)}
    log.error("a job has failed, and what it has pushed was not taken", extra=fields)
    return error
