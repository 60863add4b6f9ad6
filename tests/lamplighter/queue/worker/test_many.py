"""Jobs that are handled many in one call: gathered in their order, settled each on its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pytest

from lamplighter.container import Container
from lamplighter.contracts import Delivery
from lamplighter.errors import BrokerUnavailable, ConfigError, QueueError
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.worker.runner import pushes_ahead
from tests.lamplighter.queue.conftest import Bench, ListDelivery

calls: list[list[int]] = []
scopes: list[object] = []
open_pushes: list[Pushes] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    calls.clear()
    scopes.clear()
    open_pushes.clear()


class Scope:
    """What each call has one of."""


@dataclass(frozen=True)
class Batched(Job):
    """Does what its data say."""

    name = "batched"
    batch_size = 4
    poison: ClassVar[type[Exception]] = RuntimeError

    n: int
    how: str = ""

    @classmethod
    def handle_many(cls, jobs: Sequence[Self], deliveries: Sequence[Delivery], scope: Scope) -> Any:
        """Note the call."""
        calls.append([job.n for job in jobs])
        scopes.append(scope)
        for job, delivery in zip(jobs, deliveries, strict=True):
            if job.how == "raise":
                raise cls.poison(f"boom {job.n}")
            if job.how in ("delete", "release", "fail"):
                getattr(delivery, job.how)()
            if job.how == "push":
                pushes = pushes_ahead()
                assert pushes is not None
                pushes.expect()
                open_pushes.append(pushes)
        if any(job.how == "nonsense" for job in jobs):
            return ["?"]
        if any(job.how == "error" for job in jobs):
            return [ValueError(f"bad {job.n}") if job.how == "error" else None for job in jobs]
        return None


class Other(Job):
    """Another class."""

    name = "other"

    def handle(self) -> None:
        """Note the call."""
        calls.append([-1])


def line(bench: Bench, *hows: str, keys: str = "") -> list[ListDelivery]:
    """Jobs in the line, each of a key of its own unless a letter says otherwise."""
    bench.container.scoped(Scope)
    return [
        bench.queue.add("batched", {"n": n, "how": how}, key=(keys[n] if keys else str(n)).encode(), uuid=f"u-{n}")
        for n, how in enumerate(hows)
    ]


def ends(deliveries: Sequence[ListDelivery]) -> list[str]:
    """How each was settled at last."""
    return [str(delivery.settled[-1][0]) for delivery in deliveries]


def test_what_is_there_is_handled_in_one_call_up_to_the_limit(bench: Bench) -> None:
    deliveries = line(bench, *[""] * 6)

    bench.worker(Batched).work()

    assert calls == [[0, 1, 2, 3], [4, 5]]
    assert ends(deliveries) == ["delete"] * 6


class Single(Batched):
    """It wants none beside it."""

    name = "batched"
    batch_size = 1

    def handle(self, scope: Scope) -> None:
        """Note the call."""
        calls.append([-self.n])


class Leaving(Batched):
    """Leaves its deliveries to the test."""

    name = "batched"
    left: ClassVar[list[Delivery]] = []

    @classmethod
    def handle_many(cls, jobs: Sequence[Self], deliveries: Sequence[Delivery], scope: Scope) -> Any:
        """Keep them."""
        cls.left[:] = cls.left or deliveries
        return super().handle_many(jobs, deliveries, scope)


@pytest.mark.parametrize("how", ["", "raise"])
def test_the_deliveries_of_a_call_that_has_ended_say_so(bench: Bench, how: str) -> None:
    line(bench, "", how)
    Leaving.left.clear()
    bench.worker(Leaving).work()

    for delivery in Leaving.left:
        with pytest.raises(QueueError, match="has ended"):
            delivery.release()

    assert len(Leaving.left) == 2


def test_a_class_whose_size_is_one_is_handled_one_by_one(bench: Bench) -> None:
    deliveries = line(bench, *[""] * 3)

    bench.worker(Single).work()

    assert calls == [[0], [-1], [-2]]
    assert ends(deliveries) == ["delete"] * 3


def test_a_call_has_one_scope(bench: Bench) -> None:
    line(bench, *[""] * 6)

    bench.worker(Batched).work()

    assert len({id(scope) for scope in scopes}) == 2


def test_each_job_is_told_by_itself(bench: Bench) -> None:
    line(bench, *[""] * 3)
    told: list[tuple[str, str]] = []
    bench.events.listen(JobProcessing, lambda event: told.append(("JobProcessing", event.start.id)))
    bench.events.listen(JobProcessed, lambda event: told.append(("JobProcessed", event.start.id)))

    bench.worker(Batched).work()

    began = [("JobProcessing", id) for id in "012"]
    assert told == [*began, *[("JobProcessed", id) for id in "012"]]


def test_another_job_ends_the_gathering_and_runs_in_its_order(bench: Bench) -> None:
    line(bench, "", "")
    bench.queue.add("other")
    line(bench, "", "")

    bench.worker(Batched, Other).work()

    assert calls == [[0, 1], [-1], [0, 1]]


def test_a_poison_job_fails_alone_and_is_charged_once(bench: Bench) -> None:
    deliveries = line(bench, "", "raise", "")
    told: list[str] = []
    bench.events.listen(JobProcessing, lambda event: told.append(event.start.id))
    bench.events.listen(JobFailed, lambda event: told.append(f"failed {event.start.id} at {event.start.attempts}"))

    bench.worker(Batched).work()

    assert calls == [[0, 1, 2], [0], [1], [2]]
    assert ends(deliveries) == ["delete", "fail", "delete"]
    assert told == ["0", "1", "2", "failed 1 at 1"]


def test_a_job_that_may_be_tried_again_is_tried_by_itself(bench: Bench) -> None:
    deliveries = line(bench, "", "raise", "")

    bench.worker(type("Twice", (Batched,), {"tries": 2})).work()

    assert calls == [[0, 1, 2], [0], [1], [1], [2]]
    assert ends(deliveries) == ["delete", "fail", "delete"]


def test_a_returned_error_fails_its_job_and_no_other(bench: Bench) -> None:
    deliveries = line(bench, "", "error", "")

    bench.worker(Batched).work()

    assert calls == [[0, 1, 2]]
    assert ends(deliveries) == ["delete", "fail", "delete"]
    assert [record.uuid for record in bench.failed_jobs.records] == ["u-1"]


def test_deliveries_settle_their_own_jobs(bench: Bench) -> None:
    deliveries = line(bench, "", "fail", "delete", "")

    bench.worker(Batched).work()

    assert ends(deliveries) == ["delete", "fail", "delete", "delete"]


def test_what_a_job_asked_for_holds_when_the_call_fails(bench: Bench) -> None:
    deliveries = line(bench, "delete", "raise", "")

    bench.worker(Batched).work()

    assert calls == [[0, 1, 2], [1], [2]]
    assert ends(deliveries) == ["delete", "fail", "delete"]


def test_jobs_of_one_key_run_again_behind_the_one_that_has_to(bench: Bench) -> None:
    deliveries = line(bench, "error", "", "", keys="aba")

    bench.worker(type("Twice", (Batched,), {"tries": 2})).work()

    assert calls == [[0, 1, 2], [0], [2]]
    assert [event[0] for event in deliveries[2].settled] == ["put back", "delete"]
    assert ends(deliveries) == ["fail", "delete", "delete"]


def test_a_service_that_is_away_is_charged_to_nobody(bench: Bench) -> None:
    class Away(Batched):
        """Its service comes back after one call."""

        @property
        def is_away(self) -> bool:
            """Whether this is the first call."""
            return len(calls) == 1

        @classmethod
        def handle_many(cls, jobs: Sequence[Self]) -> None:  # type: ignore[override]
            """Note the call."""
            calls.append([job.n for job in jobs])
            if jobs[0].is_away:
                raise BrokerUnavailable("away")

    deliveries = line(bench, "", "")

    bench.worker(Away).work()

    assert sorted(calls[1]) == [0, 1]
    assert [(delivery.retries, delivery.excused) for delivery in deliveries] == [(0, 1), (0, 1)]
    assert ends(deliveries) == ["delete", "delete"]


def test_an_answer_that_can_not_be_understood_fails_with_advice(bench: Bench) -> None:
    line(bench, "nonsense", "")

    bench.worker(Batched).work()

    assert calls == [[0, 1], [0], [1]]
    assert "returns None where all jobs are done" in str(bench.failed_jobs.records[0].error)


def test_jobs_are_settled_when_the_pushes_of_their_call_are_acknowledged(bench: Bench) -> None:
    deliveries = line(bench, "push", "")
    worker = bench.worker(Batched)
    worker.work()
    before = ends(deliveries)

    open_pushes[0].report(None)
    worker.jobs.drain(1)

    assert before == ["keep", "keep"]
    assert ends(deliveries) == ["delete", "delete"]


def test_a_push_that_fails_lets_each_job_run_again(bench: Bench) -> None:
    deliveries = line(bench, "push", "")
    worker = bench.worker(Batched)
    worker.work()

    open_pushes[0].report(BrokerUnavailable("away"))
    worker.jobs.drain(1)

    assert [delivery.settled[-1] for delivery in deliveries] == [("release", 1.0, False)] * 2


def test_a_job_that_was_begun_before_is_handled_by_itself(bench: Bench) -> None:
    deliveries = line(bench, "", "", "")
    deliveries[1].retries = 1
    deliveries[2].is_suspect = True

    bench.worker(type("Often", (Batched,), {"tries": 0})).work()

    assert calls == [[0], [1], [2]]


def test_no_more_are_taken_than_the_worker_may_run(bench: Bench) -> None:
    line(bench, *[""] * 4)

    bench.worker(Batched, max_jobs=3).work()

    assert calls == [[0, 1, 2]]
    assert len(bench.queue.line) == 1


def test_once_runs_one(bench: Bench) -> None:
    line(bench, "", "")

    bench.worker(Batched, once=True).work()

    assert calls == [[0]]


def test_a_listener_that_raises_fails_its_own_job(bench: Bench) -> None:
    deliveries = line(bench, "", "", "")

    def refuse(event: JobProcessing) -> None:
        if event.start.id == "1":
            raise PermissionError("not this one")

    bench.events.listen(JobProcessing, refuse)

    bench.worker(Batched).work()

    assert calls == [[0, 2]]
    assert ends(deliveries) == ["delete", "fail", "delete"]


def test_an_async_handler_is_awaited(bench: Bench) -> None:
    class Async(Batched):
        """Awaited."""

        @classmethod
        async def handle_many(  # type: ignore[override]
            cls, jobs: Sequence[Self]
        ) -> list[Exception | None]:
            """Note the call, and find one wrong."""
            calls.append([job.n for job in jobs])
            return [ValueError("bad") if job.how == "error" else None for job in jobs]

    deliveries = line(bench, "", "error")
    bench.queue.add("other")
    alone = line(bench, "error")

    bench.worker(Async, Other).work()

    assert calls == [[0, 1], [-1], [0]]
    assert ends([*deliveries, *alone]) == ["delete", "fail", "fail"]


def test_a_class_may_have_both_handlers(bench: Bench) -> None:
    class Both(Batched):
        """One by itself is handled by `handle`."""

        def handle(self) -> None:
            """Note the call."""
            calls.append([100 + self.n])

    line(bench, "", "raise")

    bench.worker(Both).work()

    assert calls == [[0, 1], [100], [101]]


class NoClassMethod(Job):
    """Its handle_many is a plain method."""

    def handle_many(self, jobs: Sequence[Self]) -> None:
        """Nothing to do."""


class NoHandler(Job):
    """It has a size, and nothing to take it."""

    batch_size = 3

    def handle(self) -> None:
        """Nothing to do."""


class NoSize(Batched):
    """Its calls would be empty."""

    batch_size = 0


@pytest.mark.parametrize(
    ("cls", "advice"),
    [(NoClassMethod, "put @classmethod above it"), (NoHandler, "no class method `handle_many`"), (NoSize, "from 1")],
)
def test_what_can_not_work_is_refused_at_the_start(cls: type[Job], advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        Registry(Container()).register(cls)
