"""Jobs that wait for the end of the request, command or job that has dispatched them."""

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token, copy_context
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol, Self, cast

from lamplighter.errors import JobFailed, JobTimedOut
from lamplighter.logging.context import JobContext, job_context
from lamplighter.support.forking import watch
from lamplighter.support.loops import outside_of_event_loop

log = logging.getLogger(__name__)

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One job.

    Attributes:
        name: how log lines call it.
        run: runs it, and records its failure; gives an error where it has failed and could not be recorded.
        expire: keeps it as a failed job, with this error, without running it.
        always: it is run after an error of what has dispatched it, too.
    """

    name: str
    run: Callable[[], Exception | None]
    expire: Callable[[JobFailed], object]
    always: bool = False


class Deferred:
    """What waits for one end.

    Attributes:
        lost: of each job that has failed and could not be recorded, an error that says so.
    """

    def __init__(self) -> None:
        self.lost: list[Exception] = []
        self._jobs: deque[Waiting] = deque()
        self._running: Waiting | None = None
        self._is_over = False
        self._lock = threading.Lock()
        watch(self, in_child=Deferred._begin_as_child, locks=lambda deferred: (deferred._lock,))

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Waiting) -> bool:
        """Keep a job until the end; False where that was, or is another process's."""
        with self._lock:
            if not self._is_over:
                self._jobs.append(job)
            return not self._is_over

    def end(self, *, has_failed: bool, is_repeated: bool = False, until: float = NEVER) -> None:
        """Run all that waits, and what these jobs defer; after an error only what is to run always.

        No job begins after `until`, on the monotonic clock: it is recorded as failed. So is what is left where this is
        broken off; but where `is_repeated`, what has dispatched the jobs runs again and defers them again.
        """
        if has_failed:
            self._drop()
        try:
            outside_of_event_loop(lambda: self._run(until))
        except BaseException:
            self.break_off(is_repeated=is_repeated, with_running=True)
            raise

    async def end_async(self, *, has_failed: bool, is_repeated: bool = False) -> None:
        """The same in a thread, while the event loop goes on."""
        if has_failed:
            self._drop()
        if not self._jobs:
            self._run(NEVER)  # which says that it is over
            return
        try:
            work = asyncio.get_running_loop().run_in_executor(None, copy_context().run, self._run, NEVER)
        except RuntimeError:  # its threads are shut down, or there can't be one more
            self.end(has_failed=False, is_repeated=is_repeated)
            return
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self.break_off(is_repeated=is_repeated)
            # Nothing cancels a thread. Whoever goes on without it runs its job a second time beside it.
            await _come_to_end(work)
            raise

    def break_off(self, *, is_repeated: bool, with_running: bool = False) -> None:
        """Let no further job begin: each is recorded as failed, or dropped where `is_repeated`; see `end`.

        Args:
            with_running: the job that was begun does not come to its end either.
        """
        with self._lock:
            jobs, running = list(self._jobs), self._running if with_running else None
            self._jobs.clear()
            self._is_over = True
        left = jobs if running is None else [running, *jobs]
        _tell_dropped([job for job in left if is_repeated and not job.always])
        kept = [job for job in left if job.always or not is_repeated]
        if kept:  # told first: the store may hang
            names = [job.name for job in kept]
            log.warning("deferred jobs are not run to their end; they are recorded as failed", extra={"jobs": names})
        for job in kept:
            _expire(job, _cut(job) if job is running else _too_late(job))

    def _drop(self) -> None:
        with self._lock:
            dropped = [job for job in self._jobs if not job.always]
            self._jobs = deque(job for job in self._jobs if job.always)
        _tell_dropped(dropped)

    def _run(self, until: float) -> None:
        while (job := self._next()) is not None:
            if time.monotonic() < until:
                self._run_one(job)
            else:
                _expire(job, _too_late(job))

    def _run_one(self, job: Waiting) -> None:
        try:
            lost = job.run()
        except Exception as error:  # those behind it are not to be lost with it
            log.exception("a deferred job could not be run", extra={"job": job.name})
            lost = error
        if lost is not None:
            self.lost.append(lost)

    def _next(self) -> Waiting | None:
        with self._lock:
            self._running = self._jobs.popleft() if self._jobs else None
            self._is_over = self._is_over or self._running is None
            return self._running

    def _begin_as_child(self) -> None:
        # They are the parent's, and so is the end: nobody knows whether this child comes there.
        self._lock = threading.Lock()
        self._jobs = deque()
        self._running = None
        self._is_over = True


class Elsewhere(Enum):
    """Where a job is run that is dispatched outside of any request, command and job."""

    AT_EXIT = "at exit"
    NOW = "now"


AT_EXIT: Final = Elsewhere.AT_EXIT
NOW: Final = Elsewhere.NOW
Place = Deferred | Elsewhere


class Process:
    """What holds in all threads of this process.

    Attributes:
        outside: where a job is run that is dispatched outside of any request, command and job.
        forked_at: when this process was forked, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.outside: Elsewhere = AT_EXIT
        self.forked_at = -NEVER
        watch(self, in_child=Process._begin_as_child)

    def _begin_as_child(self) -> None:
        self.outside = NOW  # most children end by os._exit, where nothing runs
        self.forked_at = time.monotonic()


class Start(Protocol):
    """As much of a job in hand as has to be known."""

    began: float
    may_push_ahead: bool
    deferred: Deferred | None


@dataclass(frozen=True, slots=True)
class Scope:
    """A place for what is dispatched in a context, but for what a job dispatches that begins in it."""

    job: JobContext | None
    place: Place


_scope: ContextVar[Scope | None] = ContextVar("lamplighter_deferring", default=None)
_process = Process()


def place_here() -> Place:
    """Where a job waits that is deferred here: at the end of the innermost block or job of this process."""
    job, scope = job_context.get(), _scope.get()
    if scope is not None and scope.job is job:
        return _outside() if scope.place is AT_EXIT else scope.place
    if job is None:
        return _outside()
    # Settled already, as while a listener or `failed` is called: nobody comes back for what would wait.
    if not getattr(job, "may_push_ahead", False):
        return NOW
    start = cast(Start, job)
    if start.deferred is None:
        if start.began <= _process.forked_at:
            return NOW  # the job is the parent's, and its end comes there
        start.deferred = Deferred()
    return start.deferred


def _outside() -> Elsewhere:
    # A process of multiprocessing that was forked before it has imported this ends without exit hooks, too.
    module = sys.modules.get("multiprocessing.process")
    is_child = module is not None and module.parent_process() is not None
    return NOW if is_child else _process.outside


def defer_to(place: Place) -> None:
    """Let all that the job at hand defers wait in a place, in this context."""
    _scope.set(Scope(job_context.get(), place))


@contextmanager
def at_once() -> Iterator[None]:
    """For the process of a worker: what belongs to no job, such as what listeners and threads defer, runs at once.

    The worker may end in hours only. What waits for the end of its command runs before it begins.
    """
    scope, outside = _scope.get(), _process.outside
    if scope is not None and isinstance(scope.place, Deferred):
        scope.place.end(has_failed=False)
    token = _scope.set(Scope(job_context.get(), NOW))
    _process.outside = NOW
    try:
        yield
    finally:
        _process.outside = outside
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

    @property
    def lost(self) -> Sequence[Exception]:
        """When the block is over: of each job that has failed and could not be recorded, an error that says so."""
        return self._deferred.lost

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


async def _come_to_end(work: "asyncio.Future[None]") -> None:
    """Wait for it, however often this is cancelled meanwhile."""
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            continue


def _tell_dropped(jobs: Sequence[Waiting]) -> None:
    if jobs:
        names = [job.name for job in jobs]
        log.warning(
            "deferred jobs are dropped: what has dispatched them did not come to its end", extra={"jobs": names}
        )


def _expire(job: Waiting, error: JobFailed) -> None:
    try:
        job.expire(error)
    except Exception:  # those behind it are not to be lost with it
        log.exception("a deferred job can't be recorded, and is lost", extra={"job": job.name})


def _too_late(job: Waiting) -> JobFailed:
    return JobFailed(
        f"The program, or the job that had dispatched it, has ended before {job.name} was begun. Retry it."
    )


def _cut(job: Waiting) -> JobFailed:
    return JobTimedOut(f"The program, or the job that had dispatched it, has ended while {job.name} was running.")
