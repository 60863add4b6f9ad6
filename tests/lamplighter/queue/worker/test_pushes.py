"""A job is settled when its queue has all that it has pushed, whatever it has asked for and however it ended."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lamplighter.contracts import Delivery
from lamplighter.errors import BrokerUnavailable
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import pushes_ahead
from tests.lamplighter.queue.conftest import POOLS, Bench

open_pushes: list[Pushes] = []
REFUSED = BrokerUnavailable("away")

pytestmark = pytest.mark.parametrize("pool", POOLS)


@dataclass(frozen=True)
class Pushing(Job):
    """Pushes, asks for an end, and may raise."""

    name = "pushing"

    wish: str = ""
    raises: bool = False

    def handle(self, delivery: Delivery) -> None:
        """Note what is pushed."""
        pushes = pushes_ahead()
        assert pushes is not None
        pushes.expect()
        open_pushes.append(pushes)
        if self.wish:
            getattr(delivery, self.wish)()
        if self.raises:
            raise RuntimeError("boom")


def run(
    bench: Bench, pool: Callable[..., Worker], report: Exception | None, *, wish: str = "", raises: bool = False
) -> tuple[list[str], tuple[object, ...]]:
    """How a job was settled before its first push was reported, and by the end of that run."""
    open_pushes.clear()
    delivery = bench.queue.add("pushing", {"wish": wish, "raises": raises})
    worker = bench.worker(Pushing, make=pool)
    before: list[list[str]] = []

    def serve(wait: float) -> None:
        if open_pushes:
            before.append([str(one[0]) for one in delivery.settled])
            open_pushes.pop().report(report)

    bench.queue.serve = serve  # type: ignore[method-assign]
    bench.work(worker)
    worker.jobs.drain(1)
    return before[0], next(one for one in delivery.settled if one[0] != "keep")


@pytest.mark.parametrize(("wish", "raises"), [("", False), ("delete", False), ("delete", True)])
def test_a_job_is_done_when_its_push_is_acknowledged(
    bench: Bench, pool: Callable[..., Worker], wish: str, raises: bool
) -> None:
    before, end = run(bench, pool, None, wish=wish, raises=raises)

    assert set(before) <= {"keep"}
    assert end == ("delete",)


@pytest.mark.parametrize("wish", ["", "delete"])
def test_a_job_whose_push_was_refused_runs_again(bench: Bench, pool: Callable[..., Worker], wish: str) -> None:
    before, end = run(bench, pool, REFUSED, wish=wish)

    assert set(before) <= {"keep"}
    assert end == ("release", 1.0, False)


def test_a_deleted_job_that_raises_and_whose_push_was_refused_fails_by_its_own_error(
    bench: Bench, pool: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    _, end = run(bench, pool, REFUSED, wish="delete", raises=True)

    assert end == ("fail", "RuntimeError")
    assert "what it has pushed was not taken" in caplog.text


def test_a_job_that_failed_itself_tells_of_a_push_that_was_refused(
    bench: Bench, pool: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    _, end = run(bench, pool, REFUSED, wish="fail", raises=True)

    assert end[0] == "fail"
    assert "what it has pushed was not taken" in caplog.text
