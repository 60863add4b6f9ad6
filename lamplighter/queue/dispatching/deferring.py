"""Jobs that wait for the end of the request, command or job that has dispatched them."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol, Self, cast

from lamplighter.logging.context import JobContext, job_context
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One job.

    Attributes:
        name: how log lines call it.
        run: runs it; an error of it is told, and not raised.
        expire: keeps it as a failed job: there is no time to run it.
        always: it is run after an error of what has dispatched it, too.
    """

    name: str
    run: Callable[[], object]
    expire: Callable[[], object]
    always: bool = False


class Deferred:
    """What waits for one end."""

    def __init__(self) -> None:
        self._jobs: deque[Waiting] = deque()
        self._is_over = False
        self._lock = threading.Lock()
        watch(self, in_child=Deferred._begin_as_child, locks=lambda deferred: (deferred._lock,))

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Waiting) -> bool:
        """Keep a job until the end; False where that was."""
        with self._lock:
            if not self._is_over:
                self._jobs.append(job)
            return not self._is_over

    def end(self, *, has_failed: bool, until: float = NEVER) -> None:
        """Run all that waits, and what these jobs defer; after an error only what is to run always.

        No job begins after `until`, on the monotonic clock.
        """
        if has_failed:
            self._drop()
        if _is_in_event_loop():
            # A job that is async has a loop of its own, and a thread can't run two.
            thread = threading.Thread(target=self._run, args=(until,), name="lamplighter-deferred")
            thread.start()
            thread.join()
        else:
            self._run(until)

    async def end_async(self, *, has_failed: bool) -> None:
        """The same in a thread, while the event loop goes on."""
        if has_failed:
            self._drop()
        if self._jobs:
            await asyncio.to_thread(self._run, NEVER)
        else:
            self._run(NEVER)  # which says that it is over

    def _drop(self) -> None:
        with self._lock:
            dropped = [job.name for job in self._jobs if not job.always]
            self._jobs = deque(job for job in self._jobs if job.always)
        if dropped:
            log.warning(
                "deferred jobs are dropped: what has dispatched them did not come to its end", extra={"jobs": dropped}
            )

    def _run(self, until: float) -> None:
        while (job := self._next()) is not None:
            if time.monotonic() < until:
                job.run()
            else:
                job.expire()

    def _next(self) -> Waiting | None:
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            self._is_over = True
            return None

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        self._jobs = deque()  # they are the parent's


class Elsewhere(Enum):
    """Where a job is run that is dispatched outside of any request, command and job."""

    AT_EXIT = "at exit"
    NOW = "now"


AT_EXIT: Final = Elsewhere.AT_EXIT
NOW: Final = Elsewhere.NOW
Place = Deferred | Elsewhere


class Start(Protocol):
    """As much of a job in hand as has to be known."""

    may_push_ahead: bool
    deferred: Deferred | None


@dataclass(frozen=True, slots=True)
class Scope:
    """A place for what is dispatched in a context, but for what a job dispatches that begins in it."""

    job: JobContext | None
    place: Place


_scope: ContextVar[Scope | None] = ContextVar("lamplighter_deferring", default=None)


def place_here() -> Place:
    """Where a job waits that is deferred here: at the end of the innermost block or job."""
    job, scope = job_context.get(), _scope.get()
    if scope is not None and scope.job is job:
        return scope.place
    if job is None:
        return AT_EXIT
    # Settled already, as while a listener or `failed` is called: nobody comes back for what would wait.
    if not getattr(job, "may_push_ahead", False):
        return NOW
    start = cast(Start, job)
    if start.deferred is None:
        start.deferred = Deferred()
    return start.deferred


def defer_to(place: Place) -> None:
    """Let all that the job at hand defers wait in a place, in this context."""
    _scope.set(Scope(job_context.get(), place))


@contextmanager
def at_once() -> Iterator[None]:
    """For the loop of a worker: what its listeners defer runs at once, and not when the worker ends."""
    token = _scope.set(Scope(job_context.get(), NOW))
    try:
        yield
    finally:
        _scope.reset(token)


class Deferring:
    """The block of `deferring()`.

    Attributes:
        has_failed: the jobs are not to run, but for those that run always, though the block has raised nothing.
    """

    def __init__(self) -> None:
        self.has_failed = False
        self._deferred = Deferred()
        self._token: Token[Scope | None] | None = None

    def __len__(self) -> int:
        return len(self._deferred)

    def __enter__(self) -> Self:
        self._token = _scope.set(Scope(job_context.get(), self._deferred))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave()
        self._deferred.end(has_failed=self.has_failed or _is_failure(error))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._leave()
        await self._deferred.end_async(has_failed=self.has_failed or _is_failure(error))

    def _leave(self) -> None:
        token: Any = self._token
        try:
            _scope.reset(token)
        except ValueError:  # it is left in another context, as generators of test fixtures are
            _scope.set(None)


def deferring() -> Deferring:
    """A block, such as one around each request, at whose end the jobs run that were deferred in it.

    It is for `with` and for `async with`; what an event loop runs meanwhile goes on with the latter alone. Where the
    block raises, or sets `has_failed`, they are dropped, but for those of a connection with `always`.
    """
    return Deferring()


def _is_failure(error: BaseException | None) -> bool:
    return error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0))


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
