"""An error that is no job's own ends the worker: it counts the start that it met, and no other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Self

import pytest

from lamplighter.errors import QueueError
from lamplighter.logging.context import job_context
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import pushes_ahead
from tests.lamplighter.queue.conftest import POOLS, Bench, ListDelivery

open_pushes: list[Pushes] = []
contexts: list[object] = []


@dataclass(frozen=True)
class One(Job):
    """Pushes, where its data say so."""

    name = "one"

    pushes: bool = False

    def handle(self) -> None:
        """Note what is pushed, and which job that belongs to."""
        contexts.append(job_context.get())
        if self.pushes:
            pushes = pushes_ahead()
            assert pushes is not None
            pushes.expect()
            open_pushes.append(pushes)


@dataclass(frozen=True)
class Batched(Job):
    """Handled many in one call."""

    name = "batched"
    batch_size = 4

    n: int = 0

    @classmethod
    def handle_many(cls, jobs: Sequence[Self]) -> None:
        """Nothing to do."""

    def handle(self) -> None:
        """Note which job runs."""
        contexts.append(job_context.get())


@pytest.fixture(autouse=True)
def forget() -> None:
    open_pushes.clear()
    contexts.clear()


def broken() -> NoReturn:
    """What nobody expects."""
    raise RuntimeError("the framework's own")


def fail_behind_the_last(bench: Bench) -> None:
    """Have the connection fail when all that it holds has been taken."""
    pop = bench.queue.pop

    def fail(names: Sequence[str], wait: float) -> object:
        if not bench.queue.line:
            raise QueueError("the connection has failed for good")
        return pop(names, wait)

    bench.queue.pop = fail  # type: ignore[assignment, method-assign]


def crashed(*deliveries: ListDelivery) -> list[bool]:
    """Of which deliveries it was said that their worker has died of them."""
    return [("crash",) in delivery.settled for delivery in deliveries]


@pytest.mark.parametrize("pool", POOLS)
def test_an_error_of_settling_counts_the_start_that_it_met(bench: Bench, pool: Callable[..., Worker]) -> None:
    before, met, behind = (bench.queue.add("one") for _ in range(3))
    met.delete = broken  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="own"):
        bench.work(bench.worker(One, make=pool))

    assert crashed(before, met, behind) == [False, True, False]


@pytest.mark.parametrize("pool", POOLS)
def test_an_error_of_popping_counts_no_start(bench: Bench, pool: Callable[..., Worker]) -> None:
    begun = bench.queue.add("one", {"pushes": True})
    fail_behind_the_last(bench)

    with pytest.raises(QueueError):
        bench.work(bench.worker(One, make=pool))

    assert crashed(begun) == [False]


@pytest.mark.parametrize("pool", POOLS)
def test_an_error_after_the_end_of_the_loop_counts_too(bench: Bench, pool: Callable[..., Worker]) -> None:
    met = bench.queue.add("one", {"pushes": True})
    met.delete = broken  # type: ignore[method-assign]
    worker = bench.worker(One, make=pool)
    bench.work(worker)
    open_pushes.pop().report(None)

    with pytest.raises(RuntimeError, match="own"):
        worker.drain(1)

    assert crashed(met) == [True]


def test_a_second_error_at_the_end_counts_it_no_second_time(bench: Bench) -> None:
    met = bench.queue.add("one")
    met.delete = broken  # type: ignore[method-assign]
    worker = bench.worker(One)
    with pytest.raises(RuntimeError, match="own"):
        bench.work(worker)
    worker.jobs.drain = lambda timeout: broken()  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="own"):
        worker.drain(1)

    assert met.settled.count(("crash",)) == 1


def test_what_is_settled_already_is_not_counted(bench: Bench) -> None:
    settled = bench.queue.add("one")
    bench.queue.is_exhausted = broken  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="own"):
        bench.work(bench.worker(One))

    assert settled.settled == [("delete",)]


@pytest.mark.parametrize("pool", POOLS)
def test_of_many_jobs_the_one_is_counted_that_was_settled(bench: Bench, pool: Callable[..., Worker]) -> None:
    before, met, behind = (bench.queue.add("batched", {"n": n}) for n in range(3))
    met.delete = broken  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="own"):
        bench.work(bench.worker(Batched, make=pool))

    assert crashed(before, met, behind) == [False, True, False]


def test_those_that_wait_for_more_are_not_counted(bench: Bench) -> None:
    gathered = [bench.queue.add("batched", {"n": n}) for n in range(2)]
    fail_behind_the_last(bench)

    with pytest.raises(QueueError):
        bench.work(bench.worker(Batched))

    assert crashed(*gathered) == [False, False]


def test_a_job_that_found_no_others_runs_as_itself(bench: Bench) -> None:
    alone = bench.queue.add("batched")
    bench.queue.add("one")

    bench.work(bench.worker(Batched, One))

    assert contexts[0].delivery is alone  # type: ignore[attr-defined]
