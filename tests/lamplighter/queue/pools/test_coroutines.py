"""The pool of coroutines, and the plain handlers that run in threads beside its loop."""

import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

import pytest

from lamplighter.queue.job import Job
from lamplighter.queue.pools import Outcome
from lamplighter.queue.pools.coroutines import CoroutinePool
from lamplighter.queue.retries import Policy
from lamplighter.queue.runner import Runner
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


class Pooled:
    """A pool, and what has become of its starts."""

    def __init__(self, bench: Bench) -> None:
        bench.registry.register(Together, Long, Exhausted)
        self._bench = bench
        self._runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0.1))
        self._ended: SimpleQueue[Outcome] = SimpleQueue()
        self.pool = CoroutinePool(self._runner, SLOTS)
        self.pool.open(lambda start, outcome: self._ended.put(outcome))

    def submit(self, job: type[Job]) -> None:
        """Run a job whose timeout is a tenth of a second."""
        start = self._runner.start(self._bench.queue.add(job.wire_name()))
        self._runner.read(start)
        self.pool.submit(start)

    def outcome(self, seconds: float = 15) -> Outcome:
        """What has become of the next one."""
        return self._ended.get(timeout=seconds)


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
