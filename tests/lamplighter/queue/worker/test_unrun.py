"""Work that a handler, a hook or a listener returns instead of doing it: it is done, or the job has an error."""

import asyncio
import functools
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Self

import pytest

from lamplighter.container import Container
from lamplighter.contracts import Delivery, Message
from lamplighter.errors import ConfigError, HandlerError
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import JobProcessed, JobProcessing
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.pools.making import make_slot
from lamplighter.queue.pools.process.child import others_of
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import POOLS, Bench

ran: list[str] = []
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

pools = pytest.mark.parametrize("make", [*POOLS, partial(make_slot, others=others_of)])


@pytest.fixture(autouse=True)
def _nothing_ran() -> Iterator[None]:
    """Nor is any coroutine left that nobody has awaited, of which Python only warns."""
    ran.clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
    assert [str(one.message) for one in told if "never awaited" in str(one.message)] == []


def timed(function: Callable[..., Any]) -> Any:
    """A decorator as most are."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    return wrapper


class Service:
    """Is built once for each job."""


class Decorated(Job):
    """Is `async def` below a decorator."""

    name = "one"

    @timed
    async def handle(self, delivery: Delivery, service: Service, container: Container) -> None:
        """Run for a few steps, in one context and one scope."""
        tenant.set(delivery.id)
        await asyncio.sleep(0)
        assert (tenant.get(), container.make(Service)) == (delivery.id, service)
        ran.append("handle")


class Passes(Job):
    """Passes its work on."""

    name = "one"

    def handle(self) -> object:
        """Return the coroutine of another."""
        return self.go()

    async def go(self) -> None:
        """Run."""
        await asyncio.sleep(0)
        ran.append("handle")


class PassesLater(Passes):
    """The same in an event loop: a coroutine comes out of a coroutine."""

    async def handle(self) -> object:
        """Return the coroutine of another."""
        return self.go()


class OneByOne(Job):
    """Has `handle_many` alone, below a decorator."""

    name = "one"
    batch_size = 1

    @classmethod
    @timed
    async def handle_many(cls, jobs: Sequence[Self], deliveries: Sequence[Delivery]) -> None:
        """Run."""
        await asyncio.sleep(0)
        ran.append("handle")


class Raises(Job):
    """Raises in the coroutine that it returns, and has an async `failed()`."""

    name = "one"

    @timed
    async def handle(self) -> None:
        """Raise what would leave the event loop."""
        await asyncio.sleep(0)
        raise SystemExit(3)

    async def failed(self, error: BaseException) -> None:
        """Run."""
        await asyncio.sleep(0)
        ran.append(f"failed {type(error).__name__}")


class RaisesDecorated(Raises):
    """The same with a decorated `failed()`."""

    failed = timed(Raises.failed)


class Generates(Job):
    """Is a generator below a decorator."""

    name = "one"

    @timed
    def handle(self) -> Iterator[int]:
        """Come to nothing."""
        ran.append("handle")
        yield 1


class GeneratesLater(Job):
    """Is an async generator below a decorator."""

    name = "one"

    @timed
    async def handle(self) -> AsyncIterator[int]:
        """Come to nothing."""
        ran.append("handle")
        yield 1


class Maps(Job):
    """Returns what is lazy, out of a coroutine."""

    name = "one"

    async def handle(self) -> object:
        """Come to nothing."""
        return map(ran.append, ["handle"])


class Client:
    """Gives itself when it is awaited, as clients and pools of services do."""

    def __await__(self) -> Generator[None, None, "Client"]:
        """Be ready at once."""
        ran.append("handle")
        return self
        yield


class ReturnsClient(Job):
    """Returns one of those, out of a plain method."""

    name = "one"

    def handle(self) -> object:
        """Return it."""
        return Client()


class ReturnsTask(Job):
    """Leaves a task that its loop runs, out of a coroutine."""

    name = "one"

    async def handle(self) -> object:
        """Return it."""
        ran.append("handle")
        task = asyncio.ensure_future(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(task.cancel)
        return task


class Answers(Job):
    """Returns what nobody asks for."""

    name = "one"

    def handle(self) -> object:
        """Return a value; its class pretends to be something else, as proxies do."""
        ran.append("handle")
        return Proxy()


class Proxy:
    """Fetches what it stands for when somebody asks for its class."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """Can't be reached."""
        raise ConnectionError("the database is away")


@pools
@pytest.mark.parametrize("job", [Decorated, Passes, PassesLater, OneByOne, Answers, ReturnsClient, ReturnsTask])
def test_work_that_a_handler_returns_is_done_before_the_job_is(bench: Bench, make: Any, job: type[Job]) -> None:
    bench.container.instance(Container, bench.container)
    bench.container.scoped(Service)
    deliveries = [bench.queue.add("one", key=key) for key in (b"1", b"2", b"3")]

    bench.work(bench.worker(job, make=make))

    assert ran == ["handle"] * 3
    assert [delivery.settled[-1] for delivery in deliveries] == [("delete",)] * 3


@pools
@pytest.mark.parametrize("job", [Raises, RaisesDecorated])
def test_what_that_work_raises_is_the_end_of_the_job(bench: Bench, make: Any, job: type[Job]) -> None:
    delivery = bench.queue.add("one")

    bench.work(bench.worker(job, make=make))

    assert ran == ["failed SystemExit"]
    assert delivery.settled[-1] == ("fail", "SystemExit")


@pools
@pytest.mark.parametrize(
    ("job", "kind"), [(Generates, "a generator"), (GeneratesLater, "an async_generator"), (Maps, "a map")]
)
def test_what_nobody_iterates_is_an_error_of_the_job(bench: Bench, make: Any, job: type[Job], kind: str) -> None:
    delivery = bench.queue.add("one")

    bench.work(bench.worker(job, make=make))

    [record] = bench.failed_jobs.records
    assert isinstance(record.error, HandlerError)
    assert f"{__name__}.{job.__name__}.handle has returned {kind}, which nobody iterates" in str(record.error)
    assert (ran, delivery.settled[-1]) == ([], ("fail", "HandlerError"))


class Together(OneByOne):
    """Several in one call."""

    batch_size = 5


@pytest.mark.parametrize("make", POOLS)
def test_a_decorated_handle_many_is_awaited(bench: Bench, make: Any) -> None:
    deliveries = [bench.queue.add("one", key=key) for key in (b"1", b"2")]

    bench.work(bench.worker(Together, make=make))

    assert ran == ["handle"]
    assert [delivery.settled[-1] for delivery in deliveries] == [("delete",)] * 2


def test_a_failed_that_is_a_decorated_generator_is_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    class Hook(Raises):
        """Has a hook that comes to nothing."""

        @timed
        def failed(self, error: BaseException) -> Iterator[int]:
            yield 1

    bench.queue.add("one")

    bench.work(bench.worker(Hook))

    [told] = [one for one in caplog.records if "failed() method" in one.message]
    assert told.exc_info is not None
    assert "Hook.failed has returned a generator" in str(told.exc_info[1])


@pytest.mark.parametrize(
    ("job", "does"), [(Passes, ["handle"]), (PassesLater, ["handle"]), (Raises, ["failed SystemExit"])]
)
def test_a_job_that_is_run_where_an_event_loop_runs_is_awaited_in_a_thread(
    bench: Bench, job: type[Job], does: list[str]
) -> None:
    """A thread can't run two loops."""
    bench.registry.register(job)
    runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=60))

    async def dispatch() -> None:
        with suppress(SystemExit):
            SyncQueue("sync", runner).push(Message(write("one", {}, id="1"), b"1"), queue="sync")

    asyncio.run(dispatch())

    assert ran == does
    assert [one.name for one in threading.enumerate() if one.name == "lamplighter-beside-loop"] == []


async def later(event: object) -> None:
    """Comes to nothing where nobody awaits it."""


def bit_by_bit(event: object) -> Iterator[int]:
    """Comes to nothing where nobody iterates."""
    yield 1


async def bit_by_bit_later(event: object) -> AsyncIterator[int]:
    """The same in an event loop."""
    yield 1


LAZY = [later, bit_by_bit, bit_by_bit_later]


@pytest.mark.parametrize("listener", LAZY)
def test_a_listener_that_would_not_run_is_refused(bench: Bench, listener: Any) -> None:
    with pytest.raises(ConfigError, match=rf"The listener .*\.{listener.__name__} is (async|a generator)"):
        bench.events.listen(JobProcessed, listener)


@pools
@pytest.mark.parametrize("listener", LAZY)
def test_what_a_listener_of_the_start_returns_is_looked_at(bench: Bench, make: Any, listener: Any) -> None:
    bench.events.listen(JobProcessing, timed(listener))
    delivery = bench.queue.add("one")

    bench.work(bench.worker(Passes, make=make))

    assert (ran, delivery.settled[-1]) == ([], ("fail", "HandlerError"))


def test_a_listener_may_begin_a_task(bench: Bench) -> None:
    loop = asyncio.new_event_loop()
    bench.events.listen(JobProcessing, lambda event: loop.create_future())
    delivery = bench.queue.add("one")

    bench.work(bench.worker(Passes))
    loop.close()

    assert (ran, delivery.settled) == (["handle"], [("delete",)])


def test_what_a_listener_of_the_end_returns_is_looked_at(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.events.listen(JobProcessed, lambda event: 5)
    bench.events.listen(JobProcessed, timed(later))
    delivery = bench.queue.add("one")

    bench.work(bench.worker(Passes))

    [told] = [one for one in caplog.records if one.message == "a listener raised"]
    assert told.exc_info is not None
    assert f"The listener {__name__}.later has returned a coroutine" in str(told.exc_info[1])
    assert (ran, delivery.settled) == (["handle"], [("delete",)])
