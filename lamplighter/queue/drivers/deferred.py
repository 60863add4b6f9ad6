"""A connection that runs each job in this process at the end of the request, command or job that has dispatched it."""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application, Events, ExceptionHandler, Message
from lamplighter.errors import JobFailed, QueueError
from lamplighter.queue.dispatching.deferring import NOW, Deferred, Place, Waiting, place_here
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.failed.naming import name_of
from lamplighter.queue.failed.trace import one_line, tellable
from lamplighter.queue.guard.ending import bounded
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.support.forking import watch
from lamplighter.support.options import parse_options

log = logging.getLogger(__name__)

EXIT = 10.0  # seconds in which jobs begin that wait for the end of the program
LAST = 5.0  # seconds that the last of them may go on
MOST_AT_EXIT = 1000  # jobs that wait for it: a server without a block around its requests would keep them for ever


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
    return DeferredQueue(name, Inline(runner, app.make(Events), after_error=failures.keep), always=settings.always)


class Failures:
    """What becomes of a job that has failed with nobody who waits for it: recorded, told, reported."""

    def __init__(
        self, runner: Runner, failed_jobs: Callable[[], FailedJobs], handler: Callable[[], ExceptionHandler]
    ) -> None:
        self._runner = runner
        self._failed_jobs = failed_jobs
        self._handler = handler

    def keep(self, start: Start, error: BaseException) -> bool:
        """Record the job, call its `failed()`, report the error; whether it is recorded."""
        error = tellable(error)
        refusal: Exception | None
        try:
            refusal = Failing(self._failed_jobs(), self._runner).write_down(start, error)
        except Exception as raised:  # the store can't be made
            refusal = raised
        if refusal is not None and not start.delivery.is_recorded:
            fields = {"job": start.name, "reason": one_line(refusal), "error": one_line(error)}
            log.error("a failed job can't be recorded, and is lost", extra=fields)
        self._handler().report(error)
        return start.delivery.is_recorded


class DeferredQueue(KeepsNoJobs):
    """Keeps jobs in memory until then; each is run once, and its error is reported and not raised.

    A delay is not waited for, as with Laravel's. What is dispatched where there is no such end is run when the program
    ends; by a listener or a `failed` of a job that is over, at once.
    """

    default_queue = "default"

    def __init__(self, connection: str, inline: Inline, *, always: bool = False) -> None:
        self.connection = connection
        self._inline = inline
        self._always = always
        self._at_exit = Deferred()
        self._lock = threading.Lock()
        self._is_registered = False
        watch(self, in_child=DeferredQueue._begin_as_child, locks=lambda queue: (queue._lock,))

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Keep the job.

        Raises:
            QueueError: too many jobs wait for the end of the program.
        """
        place = place_here()
        waiting = Waiting(
            name_of(message.payload),
            lambda: self._run(message, queue, place),
            lambda: self._expire(message, queue),
            self._always,
        )
        if place is NOW or not self._place(place).add(waiting):
            waiting.run()

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Keep the jobs; how many there were."""
        count = 0
        for message in messages:
            self.push(message, queue=queue)
            count += 1
        return count

    def _place(self, place: Place) -> Deferred:
        if isinstance(place, Deferred):
            return place
        with self._lock:
            if len(self._at_exit) >= MOST_AT_EXIT:
                raise QueueError(
                    f"{MOST_AT_EXIT:,} jobs of the connection {self.connection!r} wait for the end of this program. "
                    f"Put `with deferring():` around each request or turn at whose end they are to run."
                )
            if not self._is_registered:
                self._is_registered = True
                atexit.register(self._end)
            return self._at_exit

    def _run(self, message: Message, queue: str, place: Place) -> None:
        # In a context of its own, as on a sync connection.
        Context().run(self._inline.run, self._delivery(message, queue), place)

    def _expire(self, message: Message, queue: str) -> None:
        Context().run(
            self._inline.give_up,
            self._delivery(message, queue),
            JobFailed("The program has ended before this deferred job was begun. Retry it."),
        )

    def _delivery(self, message: Message, queue: str) -> SyncDelivery:
        return SyncDelivery(message, self.connection, queue, position="deferred")

    def _end(self) -> None:
        if not len(self._at_exit):
            return
        with bounded(EXIT + LAST):
            self._at_exit.end(has_failed=False, until=time.monotonic() + EXIT)

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        self._at_exit = Deferred()  # the parent runs what was there
