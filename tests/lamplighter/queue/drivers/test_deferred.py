"""Jobs that run at the end of what has dispatched them."""

import asyncio
import atexit
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from lamplighter.contracts import Delivery, Message
from lamplighter.errors import QueueError
from lamplighter.queue.dispatching.deferring import Waiting, at_once, deferring, place_here
from lamplighter.queue.drivers import deferred as room
from lamplighter.queue.drivers.deferred import DeferredQueue, Failures
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import POOLS, Bench
from tests.programs import run


class Scene:
    """What the jobs of a test do, and what they have done."""

    said: ClassVar[list[str]] = []
    dispatch: ClassVar[Callable[[str], object]]
    sync: ClassVar[Callable[[str], object]]


class Session:
    """Something of the job's own."""


@dataclass(frozen=True)
class Letter(Job):
    """Is deferred."""

    name = "letter"
    word: str = ""

    def handle(self) -> None:
        """Say the word; raise if it is bad, and defer another if it is chained."""
        Scene.said.append(self.word)
        if self.word == "bad":
            raise RuntimeError("bad letter")
        if self.word == "chained":
            Scene.dispatch("of a letter")

    def failed(self, error: BaseException) -> None:
        """Say so."""
        Scene.said.append(f"failed: {error}")


@dataclass(frozen=True)
class AsyncLetter(Job):
    """Is deferred, and async."""

    name = "async letter"

    async def handle(self) -> None:
        """Say it."""
        await asyncio.sleep(0)
        Scene.said.append("async")


@dataclass(frozen=True)
class Writing(Job):
    """Defers a letter."""

    name = "writing"
    end: str = ""

    def handle(self, delivery: Delivery, session: Session) -> None:
        """Defer, then end as the test says."""
        Scene.dispatch(self.end or "letter")
        Scene.said.append("wrote")
        if self.end == "raise":
            raise RuntimeError("no further")
        if self.end == "release" and delivery.attempts == 1:
            delivery.release()
        if self.end == "fail":
            delivery.fail()
        if self.end == "sync":
            Scene.sync("writing")

    def failed(self, error: BaseException) -> None:
        """Defer another."""
        if self.end == "raise":
            Scene.dispatch("by failed")


@dataclass(frozen=True)
class AsyncWriting(Job):
    """Defers letters from an event loop."""

    name = "async writing"

    async def handle(self) -> None:
        """Defer, in a thread, too."""
        Scene.dispatch("one")
        await asyncio.to_thread(Scene.dispatch, "two")
        Scene.said.append("wrote")


class Handler:
    """Where errors end."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def report(self, error: BaseException) -> None:
        """Keep it."""
        self.errors.append(error)

    def render(self, error: BaseException, *, verbosity: int) -> int:
        """Never called."""
        raise AssertionError


class Deferral:
    """A deferred connection."""

    def __init__(self, bench: Bench, *, always: bool = False) -> None:
        self.bench = bench
        self.handler = Handler()
        runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0))
        failures = Failures(runner, lambda: bench.failed_jobs, lambda: self.handler)  # type: ignore[arg-type, return-value]
        self.queue = DeferredQueue("deferred", Inline(runner, bench.events, after_error=failures.keep), always=always)
        self.sync = SyncQueue("sync", runner, bench.events)
        Scene.said = []
        Scene.dispatch = self.dispatch
        Scene.sync = lambda name: self.sync.push(Message(write(name, {}, id="1")), queue="sync")
        bench.container.scoped(Session, end=lambda session: Scene.said.append("closed"))

    def dispatch(self, word: str, name: str = "letter") -> None:
        """Defer a letter."""
        self.queue.push(Message(write(name, {"word": word}, id="1"), b"k", [("h", b"v")]), queue="letters", delay=5)

    def work(self, *jobs: str, make: Any = POOLS[0], **data: object) -> list[str]:
        """Have a worker run jobs; what was said."""
        worker = self.bench.worker(make=make)
        for job in jobs:
            self.bench.queue.add(job, data, maxTries=2 if data.get("end") == "release" else 1)
        self.bench.work(worker)
        return Scene.said


@pytest.fixture
def deferral(bench: Bench) -> Deferral:
    """A deferred connection, and the jobs."""
    bench.registry.register(Letter, AsyncLetter, Writing, AsyncWriting)
    return Deferral(bench)


@pytest.mark.parametrize("make", POOLS)
def test_what_a_job_defers_runs_when_its_scope_has_ended_and_before_it_is_settled(
    deferral: Deferral, make: Any
) -> None:
    deferral.bench.events.listen(JobProcessed, lambda event: Scene.said.append(f"done: {event.start.name}"))

    said = deferral.work("writing", make=make)

    assert said == ["wrote", "closed", "letter", "done: letter", "done: writing"]


@pytest.mark.parametrize("make", POOLS)
def test_what_an_async_job_defers_runs_at_its_end(deferral: Deferral, make: Any) -> None:
    assert deferral.work("async writing", make=make) == ["wrote", "one", "two"]


def test_jobs_that_defer_nothing_are_not_held_for_those_that_did(deferral: Deferral) -> None:
    assert deferral.work("writing", "writing") == ["wrote", "closed", "letter"] * 2


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("raise", ["wrote", "closed", "by failed"]),
        ("fail", ["wrote", "closed"]),
        ("release", ["wrote", "closed", "wrote", "closed", "release"]),
    ],
)
def test_what_a_job_has_deferred_is_dropped_when_it_has_not_come_to_its_end(
    deferral: Deferral, end: str, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert deferral.work("writing", end=end) == said

    dropped = [record for record in caplog.records if record.message.startswith("deferred jobs are dropped")]
    assert [record.jobs for record in dropped] == [["letter"]]  # type: ignore[attr-defined]


def test_with_always_it_runs_after_an_error_too(bench: Bench, deferral: Deferral) -> None:
    deferral = Deferral(bench, always=True)

    assert deferral.work("writing", end="raise") == ["wrote", "closed", "raise", "by failed"]


def test_what_a_job_on_sync_defers_waits_for_whoever_has_dispatched_that_one(deferral: Deferral) -> None:
    assert deferral.work("writing", end="sync") == ["wrote", "wrote", "closed", "closed", "sync", "letter"]


def test_an_error_is_recorded_and_reported_and_not_raised(deferral: Deferral) -> None:
    with deferring():
        deferral.dispatch("bad")
        deferral.dispatch("good")
        assert Scene.said == []

    assert Scene.said == ["bad", "failed: bad letter", "good"]
    assert [str(error) for error in deferral.handler.errors] == ["bad letter"]
    [failure] = deferral.bench.failed_jobs.records
    assert (failure.connection, failure.queue, failure.key) == ("deferred", "letters", b"k")
    assert (failure.attempts, failure.headers) == (1, [("h", b"v")])


def test_an_error_that_the_store_refuses_is_in_the_log(deferral: Deferral, caplog: pytest.LogCaptureFixture) -> None:
    deferral.bench.failed_jobs.refusals = 1
    with deferring():
        deferral.dispatch("bad")

    [record] = [each for each in caplog.records if each.message == "a failed job can't be recorded, and is lost"]
    assert "the store is away" in record.reason  # type: ignore[attr-defined]


def test_a_block_runs_what_was_deferred_in_it_and_what_that_defers(deferral: Deferral) -> None:
    with deferring():
        deferral.dispatch("outer")
        with deferring():
            deferral.dispatch("chained")
        Scene.said.append("between")

    assert Scene.said == ["chained", "of a letter", "between", "outer"]


def test_a_block_in_a_job_ends_before_the_job(deferral: Deferral) -> None:
    def dispatch(word: str) -> None:
        with deferring():
            deferral.dispatch(word)
        Scene.said.append("block")

    Scene.dispatch = dispatch

    assert deferral.work("writing") == ["letter", "block", "wrote", "closed"]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), KeyboardInterrupt()])
def test_a_block_that_raises_drops_them(deferral: Deferral, error: BaseException) -> None:
    with pytest.raises(type(error)), deferring():  # noqa: PT012
        deferral.dispatch("never")
        raise error

    assert Scene.said == []


def test_a_block_may_say_that_it_has_failed_and_an_exit_with_0_is_none(deferral: Deferral) -> None:
    with deferring() as block:
        deferral.dispatch("never")
        block.has_failed = True
    with pytest.raises(SystemExit), deferring():  # noqa: PT012
        deferral.dispatch("runs")
        raise SystemExit(0)

    assert Scene.said == ["runs"]


def test_an_async_block_lets_the_event_loop_go_on(deferral: Deferral) -> None:
    async def handle_request() -> None:
        loop_went_on = threading.Event()
        asyncio.get_running_loop().call_later(0.01, loop_went_on.set)
        async with deferring():
            deferral.dispatch("", name="async letter")
            deferral.queue._place(place_here()).add(
                Waiting("waits", lambda: Scene.said.append(str(loop_went_on.wait(10))), lambda: None)
            )

    asyncio.run(handle_request())

    assert Scene.said == ["async", "True"]


def test_a_plain_block_in_an_event_loop_runs_async_jobs_too(deferral: Deferral) -> None:
    async def handle_request() -> None:
        with deferring():
            deferral.dispatch("", name="async letter")

    asyncio.run(handle_request())

    assert Scene.said == ["async"]


def test_requests_beside_each_other_each_end_with_their_own(deferral: Deferral) -> None:
    async def handle_request(word: str, goes_on: asyncio.Event) -> None:
        async with deferring():
            deferral.dispatch(word)
            await goes_on.wait()

    async def serve() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        slow = asyncio.create_task(handle_request("slow", first))
        fast = asyncio.create_task(handle_request("fast", second))
        second.set()
        await fast
        Scene.said.append("fast is over")
        first.set()
        await slow

    asyncio.run(serve())

    assert Scene.said == ["fast", "fast is over", "slow"]


def test_what_is_dispatched_by_a_task_that_outlives_its_request_runs_at_once(deferral: Deferral) -> None:
    async def linger(is_over: asyncio.Event) -> None:
        await is_over.wait()
        deferral.dispatch("late")

    async def serve() -> None:
        is_over = asyncio.Event()
        async with deferring():
            task = asyncio.create_task(linger(is_over))
        is_over.set()
        await task

    asyncio.run(serve())

    assert Scene.said == ["late"]


def test_what_is_not_to_wait_runs_at_once_within_a_block_too(deferral: Deferral) -> None:
    with deferring(), at_once():
        deferral.dispatch("at once")
        Scene.said.append("block")

    assert Scene.said == ["at once", "block"]


def test_events_tell_of_deferred_jobs_and_a_listener_that_raises_stops_none(deferral: Deferral) -> None:
    told: list[str] = []

    def listen(event: Any) -> None:
        told.append(f"{type(event).__name__} {event.start.delivery.connection}")
        if isinstance(event, JobProcessed | JobFailed):
            raise LookupError("of a listener")  # noqa: TRY004

    for kind in (JobProcessing, JobProcessed, JobFailed):
        deferral.bench.events.listen(kind, listen)
    with deferring():
        deferral.dispatch("good")
        deferral.dispatch("bad")

    assert told == [f"{kind} deferred" for kind in ("JobProcessing", "JobProcessed", "JobProcessing", "JobFailed")]


def test_a_program_without_a_block_keeps_a_bounded_number(deferral: Deferral, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_AT_EXIT", 2)
    monkeypatch.setattr(atexit, "register", lambda hook: Scene.said.append("registered"))
    deferral.dispatch("one")
    deferral.dispatch("two")

    with pytest.raises(QueueError, match=r"2 jobs of the connection 'deferred' wait for the end of this program\. Put"):
        deferral.dispatch("three")

    deferral.queue._end()
    assert Scene.said == ["registered", "one", "two"]


def test_what_there_is_no_time_for_at_the_end_is_among_the_failed_jobs(
    deferral: Deferral, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "EXIT", 0)
    monkeypatch.setattr(atexit, "register", lambda hook: None)
    deferral.dispatch("one")

    deferral.queue._end()

    [failure] = deferral.bench.failed_jobs.records
    assert "The program has ended before" in str(failure.error)
    assert Scene.said == [f"failed: {failure.error}"]


def test_a_child_of_a_fork_leaves_them_to_its_parent(deferral: Deferral) -> None:
    with deferring():
        deferral.dispatch("once")
        child = os.fork()
        if child == 0:
            try:
                with deferring() as inner:
                    deferral.dispatch("own")
                own = len(inner) == 0 and Scene.said == ["own"]
                left = deferral.queue._place(place_here())
                os._exit(0 if own and len(left) == 0 else 3)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert Scene.said == ["once"]


PROGRAM = """
from dataclasses import dataclass
from lamplighter.container import Container
from lamplighter.contracts import Message
from lamplighter.queue.drivers.deferred import DeferredQueue
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner

class Letter(Job):
    name = "letter"
    def handle(self):
        print("letter", flush=True)

container = Container()
registry = Registry(container)
registry.register(Letter)
runner = Runner(registry, container, Policy(tries=1, backoff=(), timeout=0))
queue = DeferredQueue("deferred", Inline(runner, None, after_error=print))
queue.push(Message(write("letter", {}, id="1")), queue="letters")
child = os.fork()
if child == 0:
    sys.exit(0)
assert outcome(child) == 0
print("end", flush=True)
"""


def test_a_program_without_a_block_runs_them_at_its_exit() -> None:
    assert run(PROGRAM) == "end\nletter\n"
