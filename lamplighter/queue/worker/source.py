"""What a worker takes jobs from, while there is none, or while it is to take none."""

import logging
import time
from queue import Empty

from lamplighter.contracts import DriverDelivery, Events, WorkQueue
from lamplighter.logging.context import job_context
from lamplighter.queue.events import WorkerIdle
from lamplighter.queue.guard.control import Control
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.settling import Settling

log = logging.getLogger(__name__)

GOES_ON = (False, False)  # neither paused nor down
TURN = 0.5  # seconds that one wait for what is in hand takes at most


class Source:
    """The queues of a worker, for the thread that owns its loop.

    Attributes:
        said_held: what was said last of why no job is taken; `GOES_ON` where jobs are.
    """

    def __init__(
        self, queue: WorkQueue, events: Events, options: WorkerOptions, control: Control, settling: Settling
    ) -> None:
        self._queue = queue
        self._events = events
        self._options = options
        self._control = control
        self._settling = settling
        self.said_held = GOES_ON

    def is_empty(self) -> bool:
        """Whether the worker is to stop at the end of its queues, and has come there."""
        options = self._options
        return (options.stop_when_empty or options.once) and self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Whether nothing was left when the queues were last looked at, and nothing of them is in hand."""
        return self._queue.is_exhausted()

    def is_held(self) -> bool:
        """Whether no job is to be taken for now; why is said once, and once that jobs are taken again."""
        control = self._control
        if control.is_held or self.said_held is not GOES_ON:
            self._say_why_held()
        return control.is_held

    def _say_why_held(self) -> None:
        control = self._control
        held = (control.is_paused, control.is_down) if control.is_held else GOES_ON
        if held == self.said_held:
            return
        self.said_held = held
        if control.is_paused:
            log.info("worker paused by USR2; it takes no job before it gets CONT")
        if control.is_down:
            log.info("worker waits: the application is in maintenance mode")
        if not control.is_held:
            log.info("worker takes jobs again")

    def tell_idle(self) -> None:
        """There is nothing to do."""
        job_context.set(None)
        if self._events.listeners(WorkerIdle):
            self._settling.tell(WorkerIdle(self._queue.connection, self._options.queues))

    def pop(self, wait: float) -> DriverDelivery | None:
        """The next delivery, within so many seconds."""
        return self._queue.pop(self._options.queues, wait)

    def serve(self) -> None:
        """Take acknowledgements, for a while or until somebody asks for something."""
        self._queue.serve(TURN)

    def wait(self, seconds: float) -> None:
        """Until the time is over, or somebody asked for something."""
        control = self._control
        until = time.monotonic() + seconds
        held = control.is_paused, control.is_down
        while not control.asked and (control.is_paused, control.is_down) == held:
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                control.bell.get(timeout=left)
            except Empty:
                return
