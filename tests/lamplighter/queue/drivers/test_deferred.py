"""Jobs that run at the end of what has dispatched them."""

import asyncio
import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from lamplighter.contracts import Delivery, Message
from lamplighter.errors import QueueError, SlotTerminated
from lamplighter.queue.dispatching.deferring import Deferred, Waiting, at_once, deferring, place_here
from lamplighter.queue.drivers import exiting
from lamplighter.queue.drivers.deferred import DeferredQueue, Failures
from lamplighter.queue.drivers.exiting import AtExit
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
        self.at_exit = AtExit()
        inline = Inline(runner, bench.events, after_error=failures.keep)
        self.queue = DeferredQueue("deferred", inline, self.at_exit, always=always)
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
            block = place_here()
            assert isinstance(block, Deferred)
            block.add(Waiting("waits", lambda: Scene.said.append(str(loop_went_on.wait(10))), lambda error: None))

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
    monkeypatch.setattr(exiting, "MOST", 2)
    monkeypatch.setattr(atexit, "register", lambda hook: Scene.said.append("registered"))
    deferral.dispatch("one")
    deferral.dispatch("two")

    with pytest.raises(QueueError, match=r"2 jobs wait for the end .* connection 'deferred' takes no more\. Put"):
        deferral.dispatch("three")

    deferral.at_exit.end()
    assert Scene.said == ["registered", "one", "two"]


def test_what_there_is_no_time_for_at_the_end_is_among_the_failed_jobs(
    deferral: Deferral, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exiting, "EXIT", 0)
    monkeypatch.setattr(atexit, "register", lambda hook: None)
    deferral.dispatch("one")

    deferral.at_exit.end()

    [failure] = deferral.bench.failed_jobs.records
    assert "has ended before letter was begun. Retry it." in str(failure.error)
    assert Scene.said == [f"failed: {failure.error}"]


def in_a_child(action: Callable[[], bool]) -> int:
    """The exit code of a child of a fork that ends as those do which run no exit hooks: 0 where it has given True."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if action() else 3)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_a_child_of_a_fork_leaves_them_to_its_parent(deferral: Deferral) -> None:
    def has_its_own() -> bool:
        with deferring() as inner:
            deferral.dispatch("own")
        left = place_here()
        return len(inner) == 0 and Scene.said == ["own"] and isinstance(left, Deferred) and len(left) == 0

    with deferring():
        deferral.dispatch("once")
        status = in_a_child(has_its_own)

    assert status == 0
    assert Scene.said == ["once"]


def test_what_a_child_of_a_fork_dispatches_outside_of_its_own_blocks_runs_at_once(deferral: Deferral) -> None:
    def runs_at_once() -> bool:
        deferral.dispatch("by the child")
        return Scene.said == ["by the child"]

    outside = in_a_child(runs_at_once)
    with deferring():
        within = in_a_child(runs_at_once)

    assert (outside, within) == (0, 0)


def test_what_a_child_that_a_job_has_forked_dispatches_runs_at_once(deferral: Deferral) -> None:
    def runs_at_once() -> bool:
        deferral.dispatch("by the child")
        return Scene.said[-1] == "by the child"

    Scene.dispatch = lambda word: Scene.said.append(str(in_a_child(runs_at_once)))

    assert deferral.work("writing") == ["0", "wrote", "closed"]


def test_a_worker_in_a_child_of_a_fork_defers_as_any_other(deferral: Deferral) -> None:
    status = in_a_child(lambda: deferral.work("writing") == ["wrote", "closed", "letter"])

    assert status == 0


def test_an_exception_handler_that_raises_loses_none_of_those_behind(
    deferral: Deferral, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def report(error: BaseException) -> None:
        raise SystemExit("the service for errors is away")

    monkeypatch.setattr(deferral.handler, "report", report)

    with deferring():
        deferral.dispatch("bad")
        deferral.dispatch("good")

    assert Scene.said == ["bad", "failed: bad letter", "good"]
    assert "the exception handler raised" in caplog.text


def test_what_breaks_a_block_off_records_those_that_have_not_ended(deferral: Deferral) -> None:
    def stop() -> None:
        raise SlotTerminated(143)

    with pytest.raises(SlotTerminated), deferring() as block:  # noqa: PT012
        block._deferred.add(Waiting("stops", stop, lambda error: Scene.said.append(f"stops: {type(error).__name__}")))
        deferral.dispatch("behind it")

    assert Scene.said[0] == "stops: JobTimedOut"
    [failure] = deferral.bench.failed_jobs.records
    assert "has ended before letter was begun" in str(failure.error)


def test_a_job_that_can_not_be_recorded_is_told_to_whoever_has_dispatched_it_to_run_at_once(deferral: Deferral) -> None:
    deferral.bench.failed_jobs.refusals = 2
    with deferring() as block:
        deferral.dispatch("bad")
    with at_once(), pytest.raises(QueueError, match="letter has failed, and could not be recorded as a failed job"):
        deferral.dispatch("bad")

    assert [str(error.__cause__) for error in block.lost] == ["bad letter"]


def test_what_a_thread_dispatches_in_the_process_of_a_worker_runs_at_once(deferral: Deferral) -> None:
    def serve() -> None:
        deferral.dispatch("by a thread")
        Scene.said.append("thread")

    with at_once():
        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()

    assert Scene.said == ["by a thread", "thread"]


def test_what_was_dispatched_before_a_worker_begins_does_not_wait_for_its_end(deferral: Deferral) -> None:
    with deferring():
        deferral.dispatch("of a provider")
        with at_once():
            Scene.said.append("works")

    assert Scene.said == ["of a provider", "works"]


def test_async_jobs_run_where_they_are_dispatched_though_an_event_loop_runs_there(deferral: Deferral) -> None:
    def push(queue: Any) -> None:
        queue.push(Message(write("async letter", {"word": ""}, id="1")), queue="letters")

    async def serve() -> None:
        push(deferral.sync)
        Scene.said.append("sync")
        with at_once():
            push(deferral.queue)
        Scene.said.append("deferred")

    asyncio.run(serve())

    assert Scene.said == ["async", "sync", "async", "deferred"]


def test_the_timeout_of_a_job_counts_for_what_it_has_deferred_and_nothing_of_it_runs_twice_at_a_time(
    deferral: Deferral, caplog: pytest.LogCaptureFixture
) -> None:
    """An event loop cancels the job; the thread in which a deferred one runs can't be cancelled."""
    told: list[str] = []
    goes_on = threading.Event()
    Scene.dispatch = lambda word: told.append(word) or deferral.dispatch(word)  # type: ignore[func-returns-value]

    def wait(event: JobProcessing) -> None:
        if event.start.name == "letter":
            told.append("runs")
            goes_on.wait(20)
            told.append("ran")

    def fail(event: JobFailed) -> None:
        told.append(f"{event.start.name}: {type(event.error).__name__}")

    deferral.bench.events.listen(JobProcessing, wait)
    deferral.bench.events.listen(JobFailed, fail)
    deferral.bench.queue.add("async writing", maxTries=1, timeout=0.2)
    worker = deferral.bench.worker(make=POOLS[2])
    until_dropped = threading.Thread(target=lambda: go_on_when("deferred jobs are dropped", caplog, goes_on))
    until_dropped.start()

    deferral.bench.work(worker)

    until_dropped.join()
    assert told == ["one", "two", "runs", "ran", "async writing: JobTimedOut"]
    assert Scene.said == ["wrote", "one"]


def go_on_when(text: str, caplog: pytest.LogCaptureFixture, goes_on: threading.Event) -> None:
    """Set an event when the log has a text."""
    end = time.monotonic() + 15
    while text not in caplog.text and time.monotonic() < end:
        time.sleep(0.005)
    goes_on.set()


BASE = """
import multiprocessing
from lamplighter.container import Container
from lamplighter.contracts import Message
from lamplighter.queue.drivers import exiting
from lamplighter.queue.drivers.deferred import DeferredQueue
from lamplighter.queue.drivers.exiting import AtExit
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

class Hanging(Job):
    name = "hanging"
    def handle(self):
        print("hanging", flush=True)
        time.sleep(60)

def keep(start, error):
    start.delivery.is_recorded = True
    print(f"{start.name} {type(error).__name__}", flush=True)

container = Container()
registry = Registry(container)
registry.register(Letter, Hanging)
runner = Runner(registry, container, Policy(tries=1, backoff=(), timeout=0))
at_exit = AtExit()
queue = DeferredQueue("deferred", Inline(runner, None, after_error=keep), at_exit)
other = DeferredQueue("other", Inline(runner, None, after_error=keep), at_exit)

def push(name, queue=queue):
    queue.push(Message(write(name, {}, id="1")), queue="letters")
"""

EXITS = """
push("letter")
child = os.fork()
if child == 0:
    sys.exit(0)
assert outcome(child) == 0
print("end", flush=True)
"""

FORKS = """
context = multiprocessing.get_context("fork")
process = context.Process(target=push, args=("letter",))
process.start()
process.join()
with context.Pool(1) as pool:
    pool.map(push, ["letter"])
print("end", flush=True)
"""

HANGS = """
exiting.EXIT, exiting.LAST = 0.3, 0.2
child = os.fork()
if child == 0:
    from lamplighter.queue.dispatching import deferring
    deferring._process.outside = deferring.AT_EXIT  # as in a program of its own
    push("letter", other)
    push("hanging")
    push("letter")
    push("letter", other)
    sys.exit(0)
assert outcome(child) == 1
"""

LATE = """
import atexit
atexit.register(push, "letter")
print("end", flush=True)
"""


def test_a_program_without_a_block_runs_them_at_its_exit() -> None:
    assert run(BASE + EXITS) == "end\nletter\n"


def test_what_the_children_of_multiprocessing_dispatch_runs_though_they_have_no_exit_hooks() -> None:
    assert run(BASE + FORKS) == "letter\nletter\nend\n"


def test_a_job_that_hangs_at_the_exit_is_recorded_and_so_are_those_behind_it_on_all_connections() -> None:
    assert run(BASE + HANGS) == "letter\nhanging\nletter JobFailed\nletter JobFailed\nhanging JobTimedOut\n"


def test_what_an_exit_hook_dispatches_runs_too() -> None:
    assert run(BASE + LATE) == "end\nletter\n"
