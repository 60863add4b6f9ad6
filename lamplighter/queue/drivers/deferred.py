"""A connection that runs each job in this process at the end of the request, command or job that has dispatched it."""

import logging
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application, Events, ExceptionHandler, Message
from lamplighter.errors import JobFailed, QueueError, SlotTerminated
from lamplighter.queue.dispatching.deferring import AT_EXIT, Deferred, Place, Waiting, place_here
from lamplighter.queue.drivers.exiting import AtExit
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.failed.naming import name_of
from lamplighter.queue.failed.trace import one_line, tellable
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.support.loops import outside_of_event_loop
from lamplighter.support.options import parse_options

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredOptions:
    """The keys of a connection with `driver: deferred`.

    `always`: jobs are run after an error of what has dispatched them, too.
    """

    driver: Literal["deferred"]
    always: bool = False


def connect(app: Application, name: str, options: Mapping[str, Any]) -> "DeferredQueue":
    """The connection of config/queue.py."""
    settings = parse_options(DeferredOptions, options, where=f"config/queue.py (connections.{name})")
    runner = Runner(app.make(Registry), app, Policy(tries=1, backoff=(), timeout=0))
    failures = Failures(runner, lambda: app.make(FailedJobs), lambda: app.make(ExceptionHandler))
    inline = Inline(runner, app.make(Events), after_error=failures.keep)
    return DeferredQueue(name, inline, app.make(AtExit), always=settings.always)


class Failures:
    """What becomes of a job that has failed with nobody who waits for it: recorded, told, reported."""

    def __init__(
        self, runner: Runner, failed_jobs: Callable[[], FailedJobs], handler: Callable[[], ExceptionHandler]
    ) -> None:
        self._runner = runner
        self._failed_jobs = failed_jobs
        self._handler = handler

    def keep(self, start: Start, error: BaseException) -> bool:
        """Record the job, call its `failed()`, report the error; whether it is recorded.

        What a handler of the application's raises about it is logged: other jobs wait behind this one.
        """
        error = tellable(error)
        refusal: Exception | None
        try:
            refusal = Failing(self._failed_jobs(), self._runner).write_down(start, error)
        except Exception as raised:  # the store can't be made
            refusal = raised
        if refusal is not None and not start.delivery.is_recorded:
            fields = {"job": start.name, "reason": one_line(refusal), "error": one_line(error)}
            log.error("a failed job can't be recorded, and is lost", extra=fields)
        self._report(start, error)
        return start.delivery.is_recorded

    def _report(self, start: Start, error: BaseException) -> None:
        try:
            self._handler().report(error)
        except (SlotTerminated, KeyboardInterrupt):
            raise
        except BaseException as raised:
            fields = {"job": start.name, "error": one_line(error)}
            log.error("the exception handler raised", exc_info=tellable(raised), extra=fields)


class DeferredQueue(KeepsNoJobs):
    """Keeps jobs in memory until then; each is run once, and its error is reported and not raised.

    A delay is not waited for, as with Laravel's. What is dispatched where there is no such end is run when the program
    ends. In a worker it is run at once, as is what is dispatched after the end, and in a child of a fork.
    """

    default_queue = "default"

    def __init__(self, connection: str, inline: Inline, at_exit: AtExit, *, always: bool = False) -> None:
        self.connection = connection
        self._inline = inline
        self._at_exit = at_exit
        self._always = always

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Keep the job, or run it.

        Raises:
            QueueError: too many jobs wait for the end of the program; or the job was run at once, has failed, and
                could not be recorded.
        """
        place = place_here()
        waiting = Waiting(
            name_of(message.payload),
            lambda: self._run(message, queue, place),
            lambda error: self._expire(message, queue, error),
            self._always,
        )
        if self._keep(waiting, place):
            return
        lost = outside_of_event_loop(waiting.run)
        if lost is not None:
            raise lost

    def _keep(self, job: Waiting, place: Place) -> bool:
        if isinstance(place, Deferred):
            return place.add(job)
        return place is AT_EXIT and self._at_exit.add(job, self.connection)

    def _run(self, message: Message, queue: str, place: Place) -> QueueError | None:
        delivery = self._delivery(message, queue)
        # In a context of its own, as on a sync connection.
        error = Context().run(self._inline.run, delivery, place)
        if error is None or delivery.is_recorded:
            return None
        lost = QueueError(
            f"The deferred job {name_of(message.payload)} has failed, and could not be recorded as a failed job; the "
            f"log says why."
        )
        lost.__cause__ = error
        return lost

    def _expire(self, message: Message, queue: str, error: JobFailed) -> None:
        Context().run(self._inline.give_up, self._delivery(message, queue), error)

    def _delivery(self, message: Message, queue: str) -> SyncDelivery:
        return SyncDelivery(message, self.connection, queue, position="deferred")
