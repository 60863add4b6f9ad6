"""A connection that runs each job where it is dispatched, before the dispatch returns."""

import logging
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application, DriverDelivery, Events, Headers, Message
from lamplighter.errors import QueueError, SlotTerminated
from lamplighter.queue.dispatching.deferring import place_here
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.support.options import parse_options

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """The keys of a connection with `driver: sync`."""

    driver: Literal["sync"]


def connect(app: Application, name: str, options: Mapping[str, Any]) -> "SyncQueue":
    """The connection of config/queue.py."""
    parse_options(SyncOptions, options, where=f"config/queue.py (connections.{name})")
    runner = Runner(app.make(Registry), app, Policy(tries=1, backoff=(), timeout=0))
    return SyncQueue(name, runner, app.make(Events))


class SyncDelivery:
    """A message that was never anywhere else."""

    timestamp_ms = None

    def __init__(self, message: Message, connection: str, queue: str, *, position: str = "sync") -> None:
        self.position = position
        self.payload = message.payload
        self.key = message.key
        self.headers: Headers = message.headers
        self.queue = queue
        self.connection = connection
        self.retries = 0
        self.excused = 0
        self.has_crashed = False
        self.singly = self.is_suspect = self.is_recorded = False
        self.failure: BaseException | None = None

    def delete(self) -> None:
        """Nothing is kept that would have to go."""

    def release(self, delay: float, *, counted: bool = True) -> None:
        """There is no later here; the job has had its one attempt."""

    def keep(self) -> None:
        """Nothing comes after it."""

    def count_crash(self) -> bool:
        """The error reaches whoever has dispatched it."""
        return False

    def put_back(self) -> None:
        """It is run once, alone."""

    def follows(self, other: DriverDelivery) -> bool:
        """Nothing comes before it."""
        return False

    def fail(self, error: BaseException) -> None:
        """The error is the dispatcher's."""


class SyncQueue(KeepsNoJobs):
    """Runs jobs at once; an error reaches whoever dispatched, after the job's own `failed()`.

    A delay is not waited for, and nothing is tried twice, as with Laravel's sync driver.
    """

    default_queue = "sync"

    def __init__(self, connection: str, runner: Runner, events: Events | None = None) -> None:
        self.connection = connection
        self._inline = Inline(runner, events, after_error=self._tell_failed)

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Run the job; what it raises passes through."""
        place = place_here()
        # In a context of its own: a job that dispatches another must find its own scope again, such as its session.
        error = Context().run(self._inline.run, SyncDelivery(message, self.connection, self.default_queue), place)
        if isinstance(error, QueueError):
            error.of_job = True
        if error is not None:
            raise error

    def _tell_failed(self, start: Start, error: BaseException) -> None:
        """Call the job's `failed()`; what it raises is logged, since the dispatcher is to get the job's own error."""
        try:
            self._inline.runner.run_failed(start, error)
        except (SlotTerminated, KeyboardInterrupt):
            raise
        except BaseException as raised:
            log.error("the failed() method of a job raised", exc_info=tellable(raised), extra={"job": start.name})
