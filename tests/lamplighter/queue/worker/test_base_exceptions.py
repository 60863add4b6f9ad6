"""What comes out of the application's code and is no Exception: the end of its job, not of the worker."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing, JobReleased, WorkerIdle, WorkerStopping
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import POOLS, Bench, ListDelivery, coroutines, solo, threads

told: list[str] = []


class LibraryTimeout(BaseException):
    """As some libraries derive theirs, so that no `except Exception` swallows it."""


class Unspeakable(BaseException):
    """Its text leaves the process."""

    def __str__(self) -> str:
        """Leave."""
        raise SystemExit(4)

    __repr__ = __str__


ENDS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "LibraryTimeout": lambda: LibraryTimeout("no answer"),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [LibraryTimeout("no answer"), ValueError("no")]),
    "Unspeakable": Unspeakable,
}


def raise_(name: str) -> None:
    """Raise what has this name, unless it is none."""
    if name:
        raise ENDS[name]()


@dataclass(frozen=True)
class Leaves(Job):
    """Raises what its data say, wherever they say it."""

    name = "leaves"
    tries = 2

    handler: str = ""
    hook: str = ""

    def handle(self) -> None:
        """Raise it."""
        told.append("handle")
        raise_(self.handler)

    def failed(self, error: BaseException) -> None:
        """Tell the error, then raise."""
        told.append(f"failed {type(error).__name__}")
        raise_(self.hook)


@dataclass(frozen=True)
class LeavesLater(Leaves):
    """The same in an event loop."""

    name = "leaves_later"

    async def handle(self) -> None:  # type: ignore[override]
        """Raise it, a step later."""
        await asyncio.sleep(0)
        Leaves.handle(self)


class LeavesUnread(Leaves):
    """Raises while it is made of its data."""

    name = "leaves_unread"

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Raise it."""
        told.append("from_data")
        raise_(str(data))
        return cls()


class Plain(Job):
    """Comes to its end."""

    name = "plain"

    def handle(self) -> None:
        """Tell that it ran."""
        told.append("plain")


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


def settled(delivery: ListDelivery) -> list[Any]:
    """How it was settled; that it stayed in hand meanwhile is no such thing."""
    return [step for step in delivery.settled if step != ("keep",)]


pools = pytest.mark.parametrize("make", POOLS)


@pools
@pytest.mark.parametrize("job", ["leaves", "leaves_later"])
@pytest.mark.parametrize("end", ENDS)
def test_what_a_job_raises_is_its_end_and_counts(bench: Bench, make: Callable[..., Worker], job: str, end: str) -> None:
    delivery, after = bench.queue.add(job, {"handler": end}), bench.queue.add("plain")

    status = bench.work(bench.worker(Leaves, LeavesLater, Plain, make=make, concurrency=1))

    assert status == 0
    assert settled(delivery) == [("release", 0.0, True), ("fail", end)]
    assert [type(record.error).__name__ for record in bench.failed_jobs.records] == [end]
    assert sorted(told) == sorted(["handle", "handle", f"failed {end}", "plain"])
    assert settled(after) == [("delete",)]


@pytest.mark.parametrize("end", ENDS)
def test_what_reading_the_data_raises_is_the_end_of_the_job(bench: Bench, end: str) -> None:
    delivery, after = bench.queue.add("leaves_unread", end), bench.queue.add("plain")

    bench.worker(LeavesUnread, Plain).work()

    assert settled(delivery) == [("release", 0.0, True), ("fail", end)]
    assert settled(after) == [("delete",)]


@pytest.mark.parametrize("end", ENDS)
def test_what_failed_raises_changes_nothing(bench: Bench, end: str, caplog: pytest.LogCaptureFixture) -> None:
    delivery = bench.queue.add("leaves", {"handler": "LibraryTimeout", "hook": end}, maxTries=1)
    after = bench.queue.add("plain")

    status = bench.worker(Leaves, Plain).work()

    assert status == 0
    assert settled(delivery) == [("fail", "LibraryTimeout")]
    assert "the failed() method of a job raised" in caplog.text
    assert settled(after) == [("delete",)]


@pools
def test_what_a_listener_raises_before_a_job_counts_as_its_own(bench: Bench, make: Callable[..., Worker]) -> None:
    bench.events.listen(JobProcessing, lambda event: raise_("SystemExit" if event.start.name == "leaves" else ""))
    delivery, after = bench.queue.add("leaves"), bench.queue.add("plain")

    status = bench.work(bench.worker(Leaves, Plain, make=make, concurrency=1))

    assert status == 0
    assert settled(delivery) == [("release", 0.0, True), ("fail", "SystemExit")]
    assert told == ["failed SystemExit", "plain"]
    assert settled(after) == [("delete",)]


@pools
@pytest.mark.parametrize("event", [JobProcessed, JobReleased, JobFailed, WorkerIdle, WorkerStopping])
def test_what_a_listener_raises_after_the_fact_changes_nothing(
    bench: Bench, make: Callable[..., Worker], event: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench.events.listen(event, lambda event: raise_("SystemExit"))
    delivery, after = bench.queue.add("leaves", {"handler": "SystemExit"}), bench.queue.add("plain")

    status = bench.work(bench.worker(Leaves, Plain, make=make, concurrency=1))

    assert status == 0
    assert settled(delivery) == [("release", 0.0, True), ("fail", "SystemExit")]
    assert settled(after) == [("delete",)]
    assert "a listener raised" in caplog.text


class Session:
    """What a job has one of."""


class Wants(Job):
    """Asks for a session, whose end leaves the process."""

    name = "wants"

    def handle(self, session: Session) -> None:
        """Come to its end."""


def test_what_the_end_of_a_scope_raises_is_the_end_of_its_job(bench: Bench) -> None:
    bench.container.scoped(Session, end=lambda session: raise_("SystemExit"))
    delivery, after = bench.queue.add("wants"), bench.queue.add("plain")

    bench.worker(Wants, Plain).work()

    assert settled(delivery) == [("fail", "SystemExit")]
    assert settled(after) == [("delete",)]


@dataclass(frozen=True)
class Batched(Job):
    """Raises what its data say in a call, or returns it."""

    name = "batched"
    batch_size = 3
    returns: ClassVar[bool] = False

    end: str = ""

    @classmethod
    def handle_many(cls, jobs: Sequence[Self]) -> list[BaseException | None] | None:
        """Note the call."""
        told.append(f"{len(jobs)} jobs")
        if cls.returns:
            return [ENDS[job.end]() if job.end else None for job in jobs]
        for job in jobs:
            raise_(job.end)
        return None

    def failed(self, error: BaseException) -> None:
        """Tell the error."""
        told.append(f"failed {type(error).__name__}")


class Returns(Batched):
    """It returns them."""

    name = "batched"
    returns = True


@pools
@pytest.mark.parametrize("end", ["SystemExit", "CancelledError", "LibraryTimeout"])
def test_a_call_that_raises_it_blames_the_one_job(bench: Bench, make: Callable[..., Worker], end: str) -> None:
    deliveries = [bench.queue.add("batched", {"end": name}, key=name.encode()) for name in ("", end, "")]

    status = bench.work(bench.worker(Batched, make=make, concurrency=1))

    assert status == 0
    assert sorted(told) == sorted(["3 jobs", "1 jobs", "1 jobs", "1 jobs", f"failed {end}"])
    assert [delivery.settled[-1][0] for delivery in deliveries] == ["delete", "fail", "delete"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_call_may_return_it_for_one_job(bench: Bench, count: int) -> None:
    deliveries = [bench.queue.add("batched", {"end": "SystemExit" if n == 0 else ""}) for n in range(count)]

    bench.worker(Returns).work()

    assert told == [f"{count} jobs", "failed SystemExit"]
    assert deliveries[0].settled[-1][0] == "fail"


class Half(Job):
    """Its child leaves the event loop while it waits for something else."""

    name = "half"

    async def handle(self) -> None:
        """Leave by a task, and tell when it is carried on by somebody else's loop."""
        task = asyncio.create_task(self.leave())
        await asyncio.sleep(0.01)
        told.append("half goes on")
        await task

    async def leave(self) -> None:
        """Leave."""
        raise SystemExit(5)


class Stops(Job):
    """Stops the event loop that it runs in."""

    name = "stops"

    async def handle(self) -> None:
        """Stop it, and tell when it goes on."""
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        told.append("stops goes on")


class Waits(Job):
    """Runs for a while in an event loop."""

    name = "waits"

    async def handle(self) -> None:
        """Wait."""
        await asyncio.sleep(0.05)
        told.append("waits")


@pytest.mark.parametrize(("job", "error"), [(Half, "SystemExit"), (Stops, "RuntimeError")])
@pytest.mark.parametrize("make", [solo, threads])
def test_nothing_of_a_job_that_left_its_loop_goes_on_beside_the_next_one(
    bench: Bench, make: Callable[..., Worker], job: type[Job], error: str
) -> None:
    delivery, after = bench.queue.add(job.name), bench.queue.add("waits")

    bench.work(bench.worker(job, Waits, make=make, concurrency=1))
    gc.collect()  # asyncio tells of a task whose error nobody has asked for when it goes

    assert settled(delivery) == [("fail", error)]
    assert settled(after) == [("delete",)]
    assert told == ["waits"]


def test_a_task_beside_a_job_ends_no_other_job_of_the_loop(bench: Bench) -> None:
    waiting, leaving = bench.queue.add("waits"), bench.queue.add("half", key=b"other")

    status = bench.work(bench.worker(Half, Waits, make=coroutines, concurrency=2))

    assert status == 0
    assert settled(leaving) == [("fail", "SystemExit")]
    assert settled(waiting) == [("delete",)]


def test_what_the_driver_raises_ends_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def pop(names: object, wait: float) -> None:
        raise SystemExit(6)

    monkeypatch.setattr(bench.queue, "pop", pop, raising=False)

    with pytest.raises(SystemExit):
        bench.worker(Plain).work()


def test_what_the_store_of_failed_jobs_raises_ends_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(failure: object) -> str:
        raise SystemExit(6)

    monkeypatch.setattr(bench.failed_jobs, "record", record, raising=False)
    delivery = bench.queue.add("leaves", {"handler": "LibraryTimeout"}, maxTries=1)

    with pytest.raises(SystemExit):
        bench.worker(Leaves).work()

    assert delivery.settled == [("crash",)]


def test_an_error_says_its_text_first_while_its_job_has_a_deadline(bench: Bench) -> None:
    in_hand: list[bool] = []

    class Asks(Exception):
        """Its text asks somebody, who may not answer."""

        def __str__(self) -> str:
            in_hand.append(not worker.hand.is_empty())
            return "asked"

    class Fails(Job):
        name = "fails"
        tries = 2

        def handle(self) -> None:
            raise Asks

    bench.queue.add("fails")
    worker = bench.worker(Fails)

    worker.work()

    assert in_hand[0]


class Hostile(Exception):
    """Its class has no module, which Python's own traceback trips over."""


Hostile.__module__ = None  # type: ignore[assignment]


def test_an_error_that_has_no_trace_to_tell_is_recorded(bench: Bench) -> None:
    class Raises(Job):
        name = "raises"

        def handle(self) -> None:
            raise Hostile("from nowhere")

    delivery = bench.queue.add("raises")

    bench.worker(Raises, max_jobs=3).work()

    assert settled(delivery) == [("fail", "Hostile")]


# the sync connection ──────────────────────────────────────────────────────────────────────────────────────────────────


def dispatch(bench: Bench, **data: str) -> None:
    """Run a job on a sync connection."""
    bench.registry.register(Leaves)
    runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0))
    message = Message(write("leaves", data, id="1"), b"1")
    SyncQueue("sync", runner).push(message, queue="sync")


@pytest.mark.parametrize("end", ENDS)
def test_on_the_sync_connection_failed_is_told_before_the_dispatcher_is(bench: Bench, end: str) -> None:
    with pytest.raises(type(ENDS[end]())):
        dispatch(bench, handler=end)

    assert told == ["handle", f"failed {end}"]


def test_on_the_sync_connection_the_jobs_own_error_is_the_dispatchers(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LibraryTimeout):
        dispatch(bench, handler="LibraryTimeout", hook="SystemExit")

    assert "the failed() method of a job raised" in caplog.text
