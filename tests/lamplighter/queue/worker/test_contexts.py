"""What a job puts into context variables: seen within the job, and by no other."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

import pytest

from lamplighter.container import Container
from lamplighter.contracts import Message
from lamplighter.logging.context import job_fields
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing, JobReleased
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import POOLS, Bench, solo

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
seen: dict[str, str] = {}
fields: dict[str, dict[str, object]] = {}

pools = pytest.mark.parametrize("make", POOLS)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()
    fields.clear()


def look(where: str) -> None:
    """Note what is seen here, and leave something for whoever comes next."""
    seen[where] = tenant.get()
    fields[where] = job_fields()
    tenant.set(where)


@dataclass(frozen=True)
class Looks(Job):
    """Looks in its handler and in `failed()`."""

    name = "looks"

    n: int = 0
    fails: bool = False

    def handle(self) -> None:
        """Look, then fail where the data say so."""
        look(f"handle {self.n}")
        if self.fails:
            raise RuntimeError("boom")

    def failed(self, error: BaseException) -> None:
        """Look."""
        look(f"failed {self.n}")


class LooksLater(Looks):
    """The same in an event loop."""

    name = "looks_later"

    async def handle(self) -> None:  # type: ignore[override]
        """Look, also from a task and from a thread, which are the job's own."""
        Looks.handle(self)
        await asyncio.create_task(self.within("task"))
        await asyncio.to_thread(self.inside, "thread")

    async def within(self, where: str) -> None:
        """Note what a part of the job sees."""
        self.inside(where)

    def inside(self, where: str) -> None:
        """Note what a part of the job sees."""
        seen[where] = tenant.get()
        fields[where] = job_fields()


class LooksEarly(Looks):
    """Looks while it is made of its data."""

    name = "looks_early"

    @classmethod
    def from_data(cls, data: object) -> Self:
        """Look."""
        look(f"from_data {data}")
        return cls()

    def handle(self) -> None:
        """Nothing to do."""


class LooksTogether(Looks):
    """Looks in its call."""

    name = "looks_together"
    batch_size = 2

    @classmethod
    def handle_many(cls, jobs: Sequence[Self]) -> None:
        """Look."""
        look(f"call {jobs[0].n}")


def run(bench: Bench, make: Callable[..., Worker], *jobs: tuple[str, Any]) -> None:
    """Run these jobs one after the other."""
    for name, data in jobs:
        bench.queue.add(name, data)
    bench.work(bench.worker(Looks, LooksLater, LooksEarly, LooksTogether, make=make, concurrency=1))


@pools
@pytest.mark.parametrize("second", ["looks", "looks_later"])
@pytest.mark.parametrize("first", ["looks", "looks_later"])
def test_no_job_sees_what_the_one_before_it_has_set(
    bench: Bench, make: Callable[..., Worker], first: str, second: str
) -> None:
    run(bench, make, (first, {"n": 1}), (second, {"n": 2}))

    assert {where: value for where, value in seen.items() if "handle" in where} == {
        "handle 1": "nobody",
        "handle 2": "nobody",
    }


@pools
def test_what_a_job_has_started_sees_what_it_has_set(bench: Bench, make: Callable[..., Worker]) -> None:
    run(bench, make, ("looks_later", {"n": 1}))

    assert (seen["task"], seen["thread"]) == ("handle 1", "handle 1")
    assert fields["task"] == fields["thread"] == fields["handle 1"]
    assert fields["thread"]["job"] == "looks_later"


@pools
def test_failed_has_a_context_of_its_own(bench: Bench, make: Callable[..., Worker]) -> None:
    run(bench, make, ("looks", {"n": 1, "fails": True}), ("looks", {"n": 2, "fails": True}))

    assert seen == dict.fromkeys(["handle 1", "failed 1", "handle 2", "failed 2"], "nobody")
    assert fields["failed 1"]["job"] == "looks"


@pools
def test_reading_data_leaves_nothing(bench: Bench, make: Callable[..., Worker]) -> None:
    run(bench, make, ("looks_early", 1), ("looks_early", 2), ("looks", {"n": 3}))

    assert seen == dict.fromkeys(["from_data 1", "from_data 2", "handle 3"], "nobody")


@pools
def test_a_call_for_many_leaves_nothing(bench: Bench, make: Callable[..., Worker]) -> None:
    run(bench, make, *[("looks_together", {"n": n}) for n in range(4)], ("looks", {"n": 4}))

    assert seen == dict.fromkeys(["call 0", "call 2", "handle 4"], "nobody")


@pools
def test_the_attempts_of_one_job_do_not_see_each_other(bench: Bench, make: Callable[..., Worker]) -> None:
    class Twice(Looks):
        name = "twice"
        tries = 2

        def handle(self, delivery: Any = None) -> None:
            look(f"attempt {len(seen)}")
            raise RuntimeError("boom")

    bench.queue.add("twice")

    bench.work(bench.worker(Twice, make=make, concurrency=1))

    assert seen == dict.fromkeys(["attempt 0", "attempt 1", "failed 0"], "nobody")


def test_what_a_listener_has_set_before_a_job_is_seen_in_it(bench: Bench) -> None:
    bench.events.listen(JobProcessing, lambda event: tenant.set("acme") and None)

    try:
        run(bench, solo, ("looks", {"n": 1}), ("looks_later", {"n": 2}))
    finally:
        tenant.set("nobody")

    assert (seen["handle 1"], seen["handle 2"]) == ("acme", "acme")


@pools
@pytest.mark.parametrize("event", [JobProcessing, JobProcessed, JobReleased, JobFailed])
def test_listeners_know_which_job_it_is(bench: Bench, make: Callable[..., Worker], event: type[Any]) -> None:
    heard: list[object] = []
    bench.events.listen(event, lambda event: heard.append(job_fields()["position"]))

    bench.queue.add("looks", {"n": 1, "fails": True}, maxTries=2)
    run(bench, make, ("looks", {"n": 2}))

    assert set(heard) == {"jobs[0]@0"}


# what a job has one of ────────────────────────────────────────────────────────────────────────────────────────────────


class Session:
    """What each start has one of."""


opened: list[Session] = []
closed: list[object] = []


class Asks(Job):
    """Asks for a session, and once more in the middle."""

    name = "asks"

    def handle(self, session: Session, container: Container) -> None:
        """Get the same one."""
        assert container.make(Session) is session
        opened.append(session)


class AsksLate(Job):
    """Asks for a session only when it runs."""

    name = "asks_late"

    async def handle(self, container: Container) -> None:
        """Get one, once it runs in its event loop."""
        await asyncio.sleep(0)
        opened.append(container.make(Session))


class Nests(Job):
    """Dispatches a job on a sync connection in its middle."""

    name = "nests"

    def handle(self, session: Session, container: Container) -> None:
        """Find its own session again, and its own name."""
        before = job_fields()
        container.make(SyncQueue).push(Message(write("asks", {}, id="1"), b"1"), queue="sync")
        assert container.make(Session) is session
        assert job_fields() == before
        opened.append(session)


class AsksWhenFailed(Job):
    """Its handler and its `failed()` both ask."""

    name = "asks_when_failed"

    def handle(self, session: Session) -> None:
        """Fail."""
        opened.append(session)
        raise RuntimeError("boom")

    def failed(self, error: BaseException, session: Session) -> None:
        """Get another one."""
        opened.append(session)


@pytest.fixture
def sessions(bench: Bench) -> Bench:
    opened.clear()
    closed.clear()
    bench.container.instance(Container, bench.container)
    bench.container.scoped(Session, end=closed.append)
    runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0))
    bench.container.instance(SyncQueue, SyncQueue("sync", runner))
    return bench


@pools
@pytest.mark.parametrize(("job", "count"), [("asks", 1), ("asks_late", 1), ("nests", 2), ("asks_when_failed", 2)])
def test_each_start_has_a_scope_that_ends_with_it(
    sessions: Bench, make: Callable[..., Worker], job: str, count: int
) -> None:
    deliveries = [sessions.queue.add(job) for _ in range(3)]

    sessions.work(sessions.worker(Asks, AsksLate, Nests, AsksWhenFailed, make=make, concurrency=1))

    assert len(deliveries) == 3
    assert len({id(session) for session in opened}) == 3 * count
    assert sorted(map(id, closed)) == sorted(map(id, opened))


def test_a_scope_that_a_listener_has_begun_is_the_jobs_and_ends_with_it(sessions: Bench) -> None:
    mine: list[Session] = []
    sessions.events.listen(JobProcessing, lambda event: mine.append(sessions.container.make(Session)))
    for _ in range(2):
        sessions.queue.add("asks")

    sessions.worker(Asks).work()

    assert mine == opened
    assert closed == opened
    assert mine[0] is not mine[1]
