"""Runs a job where it is, once, with no worker around it."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from lamplighter.contracts import DriverDelivery, Events
from lamplighter.errors import PayloadError, SlotTerminated
from lamplighter.logging.context import job_context
from lamplighter.queue.delivery import Failed
from lamplighter.queue.dispatching.deferring import Place, defer_to
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.worker.runner import Runner, Start

log = logging.getLogger(__name__)


class Inline:
    """Reads a delivery and runs its job, in the caller's context; nothing is tried twice, and no timeout holds.

    Args:
        after_error: what is done with a job that has failed, before listeners hear of it.
    """

    def __init__(
        self, runner: Runner, events: Events | None, *, after_error: Callable[[Start, BaseException], object]
    ) -> None:
        self.runner = runner
        self._events = events
        self._after_error = after_error

    def run(
        self,
        delivery: DriverDelivery,
        place: Place,
        *,
        on_start: Callable[[Start], object] = lambda start: None,
    ) -> BaseException | None:
        """Run a job to its end, and `failed()` after an error; that error, or the one which the job has failed with.

        What the job defers waits in `place`. `on_start` is called when the job has been read and is about to run.
        """
        start = self.runner.start(delivery)
        job_context.set(start)
        defer_to(place)
        start.began = time.monotonic()
        error: BaseException | None = None
        try:
            self.runner.read(start)
            on_start(start)
            if self._events is not None:
                self._events.dispatch(JobProcessing(start))
            self.runner.run(start)
            wish = start.end()
            if isinstance(wish, Failed):
                error = wish.error
        except SlotTerminated:
            raise  # the process ends with the job that has dispatched this one
        except BaseException as raised:
            start.end()
            error = raised
        duration = time.monotonic() - start.began
        if error is None:
            self.tell(JobProcessed(start, duration))
            return None
        self._after_error(start, error)
        self.tell(JobFailed(start, duration, error))
        return error

    def give_up(self, delivery: DriverDelivery, error: BaseException) -> None:
        """Let a job fail that is not run."""
        start = self.runner.start(delivery)
        job_context.set(start)
        with suppress(PayloadError):
            self.runner.read(start)
        self._after_error(start, error)
        self.tell(JobFailed(start, 0.0, error))

    def tell(self, event: object) -> None:
        """Tell of what is done already: a listener that raises changes nothing of it."""
        if self._events is None:
            return
        try:
            self._events.dispatch(event)
        except SlotTerminated:
            raise
        except BaseException as raised:
            log.error("a listener raised", exc_info=tellable(raised))
