"""What is done about a worker that stands still: it says so, and ends, so that whoever watches it starts another."""

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from lamplighter.contracts import Events, WorkQueue
from lamplighter.queue.events import WorkerStalled
from lamplighter.queue.guard.control import Control, StopReason
from lamplighter.queue.guard.timers import spawn

log = logging.getLogger(__name__)


class Beating(Protocol):
    """The loop of a worker, as far as it is seen to go on.

    Attributes:
        beaten_at: when it was last seen to, on the monotonic clock.
    """

    beaten_at: float

    @property
    def is_at_work(self) -> bool:
        """Whether a job is in hand."""
        ...


class Stalling:
    """A chore of the watching thread: the loop's own thread may be what stands still."""

    def __init__(
        self, loop: Beating, control: Control, queue: WorkQueue, events: Events, queues: Sequence[str], *, rest: float
    ) -> None:
        self._loop = loop
        self._control = control
        self._queue = queue
        self._events = events
        self._queues = queues
        self._rest = rest
        self._is_told = False

    def __call__(self) -> None:
        """Look, and end the worker, once; where its own loop is what stands still, the deadline ends its process."""
        if self._is_told:
            return
        is_resting = time.monotonic() - self._loop.beaten_at < self._rest
        seen = self._queue.stall(is_busy=is_resting or not self._control.takes_jobs or self._loop.is_at_work)
        if seen is None:
            return
        log.error("the worker stands still though there is something to do; it ends", extra={"seen": seen})
        self._is_told = True
        self._control.ask_to_stop(StopReason.STALLED)
        # A listener that hangs must not keep this thread from ending the process.
        event = WorkerStalled(self._queue.connection, tuple(self._queues), seen)
        spawn(lambda: self._events.dispatch(event))
