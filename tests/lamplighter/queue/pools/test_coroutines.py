"""The pool of coroutines, and the plain handlers that run in threads beside its loop."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue

import pytest

from lamplighter.errors import JobTimedOut
from lamplighter.queue.failed.trace import format_trace
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.pools.coroutines import CoroutinePool
from lamplighter.queue.pools.pool import Outcome
from lamplighter.queue.worker.runner import Runner, Start
from tests.harness import wait_for
from tests.lamplighter.queue.conftest import Bench

SLOTS = 40

together = threading.Barrier(SLOTS)
may_end = threading.Event()


class Together(Job):
    """Waits for as many others as there are slots."""

    name = "together"

    def handle(self) -> None:
        """Fail where they don't run at once."""
        together.wait(10)


class Long(Job):
    """Runs until it may end."""

    name = "long"

    def handle(self) -> None:
        """Wait."""
        may_end.wait(10)


class Exhausted(Job):
    """Raises what no future takes."""

    name = "exhausted"

    def handle(self) -> None:
        """Raise it."""
        next(iter(()))


class CancelsAll(Job):
    """Cancels every task of its event loop but its own."""

    name = "cancels_all"

    async def handle(self) -> None:
        """Cancel them."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


class Blocks(Job):
    """Keeps the event loop to itself for longer than its neighbour may run."""

    name = "blocks"

    async def handle(self) -> None:
        """Block the loop until the neighbour has come, and is overdue."""
        may_end.wait(10)


class Waits(Job):
    """Runs in the event loop, a few steps."""

    name = "waits"

    async def handle(self) -> None:
        """Take them."""
        await asyncio.sleep(0.01)


class CancelsItself(Job):
    """Cancels its own task."""

    name = "cancels_itself"

    async def handle(self) -> None:
        """Cancel it."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)


class StopsTheLoop(Job):
    """Stops the event loop of all."""

    name = "stops_the_loop"

    async def handle(self) -> None:
        """Stop it."""
        asyncio.get_running_loop().stop()


class Pooled:
    """A pool, and what has become of its starts."""

    def __init__(self, bench: Bench) -> None:
        bench.registry.register(Together, Long, Exhausted)
        bench.registry.register(CancelsAll, Blocks, Waits, CancelsItself, StopsTheLoop)
        self._bench = bench
        self._runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0.1))
        self._ended: SimpleQueue[tuple[Start, Outcome]] = SimpleQueue()
        self.pool = CoroutinePool(self._runner, SLOTS)
        self.pool.open(lambda start, outcome: self._ended.put((start, outcome)))

    def register(self, job: type[Job]) -> None:
        """Let it be run."""
        self._bench.registry.register(job)

    def submit(self, job: type[Job], *, timeout: float | None = None) -> Start:
        """Run a job whose timeout is a tenth of a second where nothing else is said."""
        start = self._runner.start(self._bench.queue.add(job.wire_name(), timeout=timeout))
        self._runner.read(start)
        start.began = time.monotonic()
        self.pool.submit(start)
        return start

    def outcome(self, seconds: float = 15) -> Outcome:
        """What has become of the next one."""
        return self._ended.get(timeout=seconds)[1]

    def outcomes(self, count: int) -> dict[Start, Outcome]:
        """What has become of so many."""
        return dict(self._ended.get(timeout=15) for _ in range(count))


@pytest.fixture
def pooled(bench: Bench) -> Iterator[Pooled]:
    may_end.clear()
    one = Pooled(bench)
    yield one
    may_end.set()
    one.pool.close()


def test_as_many_plain_handlers_run_at_once_as_there_are_slots(pooled: Pooled) -> None:
    for _ in range(SLOTS):
        pooled.submit(Together)

    outcomes = [pooled.outcome() for _ in range(SLOTS)]

    assert outcomes == [None] * SLOTS


def test_a_plain_handler_that_is_overdue_is_in_hand_until_it_ends(pooled: Pooled) -> None:
    pooled.submit(Long)

    with pytest.raises(Empty):
        pooled.outcome(seconds=0.5)
    may_end.set()

    assert pooled.outcome() is None


def test_a_plain_handler_may_raise_what_no_future_takes(pooled: Pooled) -> None:
    pooled.submit(Exhausted)

    assert isinstance(pooled.outcome(), StopIteration)


def test_a_job_that_a_neighbour_cancels_before_its_first_step_is_begun_all_the_same(pooled: Pooled) -> None:
    pooled.submit(Blocks, timeout=10)  # so that the two come into the loop in one turn
    cancels, waits = pooled.submit(CancelsAll, timeout=10), pooled.submit(Waits, timeout=10)
    may_end.set()

    outcomes = pooled.outcomes(3)

    assert (outcomes[cancels], outcomes[waits]) == (None, None)


def test_a_job_whose_time_was_over_before_its_first_step_has_timed_out(pooled: Pooled) -> None:
    pooled.submit(Blocks, timeout=10)
    waits = pooled.submit(Waits, timeout=0.01)
    wait_for(lambda: time.monotonic() > waits.began + 0.2, what="its time")
    may_end.set()

    assert isinstance(pooled.outcomes(2)[waits], JobTimedOut)


def test_a_job_that_was_cancelled_tells_that_it_was_not_its_timeout(pooled: Pooled) -> None:
    pooled.submit(CancelsItself, timeout=10)

    outcome = pooled.outcome()

    assert isinstance(outcome, asyncio.CancelledError)
    assert "cancels_itself was cancelled, and not for its timeout" in format_trace(outcome)


def test_a_job_that_stops_the_loop_stops_no_other(pooled: Pooled) -> None:
    stops, waits = pooled.submit(StopsTheLoop, timeout=10), pooled.submit(Waits, timeout=10)

    assert pooled.outcomes(2) == {stops: None, waits: None}


def test_nothing_is_kept_of_a_job_that_ends_by_itself_when_it_is_cancelled(pooled: Pooled) -> None:
    class Swallows(Job):
        name = "swallows"

        async def handle(self) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(10)

    pooled.register(Swallows)
    pooled.submit(Swallows, timeout=0.05)

    assert pooled.outcome() is None
    assert not pooled.pool._overdue
