"""Errors whose classes hide something behind the names that Python, logging and the worker look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import pytest

from lamplighter.contracts import Delivery
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.worker.loop import Worker
from tests.lamplighter.queue.conftest import POOLS, Bench, ListDelivery

told: list[str] = []


class Recurses(Exception):
    """Passes on what it has not, and never had what it passes it to."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class HasKeys(Exception):
    """Takes names for keys."""

    def __getattr__(self, name: str) -> NoReturn:
        raise KeyError(name)


class HasNoTruth(Exception):
    """Is neither true nor false."""

    def __bool__(self) -> NoReturn:
        raise RuntimeError("no truth")


class HasNothing(Exception):
    """Refuses each name."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(f"no {name}")


class HasNoNotes(Exception):
    """Refuses what tracebacks show beside the text."""

    @property
    def __notes__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no notes")


class Pretends(Exception):
    """Says that it is of another class."""

    __class__ = KeyError  # type: ignore[assignment]


def caused() -> Exception:
    """One whose cause is awkward."""
    error = ValueError("caused")
    error.__cause__ = HasNothing()
    return error


AWKWARD: dict[str, Callable[[], Exception]] = {
    "recurses": Recurses,
    "keys": HasKeys,
    "truth": HasNoTruth,
    "nothing": HasNothing,
    "notes": HasNoNotes,
    "pretends": Pretends,
    "caused": caused,
}
awkward = pytest.mark.parametrize("kind", AWKWARD)
pools = pytest.mark.parametrize("make", POOLS)


@dataclass(frozen=True)
class Awkward(Job):
    """Raises what its data say, where they say it."""

    name = "awkward"
    tries = 2

    where: str
    kind: str

    def handle(self, delivery: Delivery) -> None:
        """Raise it, or fail with it."""
        told.append("handle")
        if self.where == "handler":
            raise AWKWARD[self.kind]()
        if self.where == "fail":
            delivery.fail(AWKWARD[self.kind]())
        if self.where == "failed":
            delivery.fail(ValueError("plain"))

    def failed(self, error: BaseException) -> None:
        """Tell it, then raise."""
        told.append("failed")
        if self.where == "failed":
            raise AWKWARD[self.kind]()


@dataclass(frozen=True)
class Batched(Job):
    """Returns it for one of many."""

    name = "batched"
    batch_size = 2
    tries = 1

    kind: str

    @classmethod
    def handle_many(cls, jobs: Sequence[Self]) -> list[Exception | None]:
        """The first one's error."""
        return [AWKWARD[job.kind]() if job.kind else None for job in jobs]


class Plain(Job):
    """Comes to its end."""

    name = "plain"

    def handle(self) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


def ends(delivery: ListDelivery) -> list[Any]:
    """How it was settled."""
    return [step[0] for step in delivery.settled if step != ("keep",)]


@pools
@awkward
@pytest.mark.parametrize(
    ("where", "settled", "calls"),
    [
        ("handler", ["release", "fail"], ["handle", "handle", "failed"]),
        ("fail", ["fail"], ["handle", "failed"]),
        ("failed", ["fail"], ["handle", "failed"]),
    ],
)
def test_it_ends_its_job_and_no_other(
    bench: Bench, make: Callable[..., Worker], kind: str, where: str, settled: list[str], calls: list[str]
) -> None:
    delivery, after = bench.queue.add("awkward", {"where": where, "kind": kind}), bench.queue.add("plain")

    status = bench.work(bench.worker(Awkward, Plain, make=make, concurrency=1))

    assert status == 0
    assert (ends(delivery), ends(after)) == (settled, ["delete"])
    assert told == calls
    assert len(bench.failed_jobs.records) == 1


@awkward
def test_one_that_is_returned_for_a_job_of_many_fails_this_one(bench: Bench, kind: str) -> None:
    deliveries = [bench.queue.add("batched", {"kind": one}, key=one.encode()) for one in (kind, "")]

    status = bench.work(bench.worker(Batched))

    assert status == 0
    assert [ends(delivery)[-1] for delivery in deliveries] == ["fail", "delete"]


@pools
@awkward
@pytest.mark.parametrize("event", [JobProcessing, JobProcessed, JobFailed])
def test_one_of_a_listener_ends_no_worker(
    bench: Bench, make: Callable[..., Worker], kind: str, event: type[object]
) -> None:
    def listen(_: object) -> None:
        raise AWKWARD[kind]()

    bench.events.listen(event, listen)
    failing = bench.queue.add("awkward", {"where": "fail", "kind": kind})
    plain = bench.queue.add("plain")

    status = bench.work(bench.worker(Awkward, Plain, make=make, concurrency=1))

    assert status == 0
    assert ends(failing)[-1] == "fail"
    assert ends(plain)[-1] == ("fail" if event is JobProcessing else "delete")


def test_one_that_can_be_told_stays_itself() -> None:
    error = ValueError("plain")

    assert tellable(error) is error


def test_what_stands_for_it_names_its_class() -> None:
    assert "test_awkward_errors.HasNothing was raised, and can't be looked at" in str(tellable(HasNothing()))
