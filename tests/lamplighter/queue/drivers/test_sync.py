"""Jobs that run where they are dispatched."""

from dataclasses import dataclass
from typing import Any

import pytest

from lamplighter.contracts import Delivery, Message
from lamplighter.errors import ManuallyFailed
from lamplighter.queue.drivers.sync import SyncQueue
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import Bench

said: list[Any] = []


@dataclass(frozen=True)
class Ending(Job):
    """Ends as the test says."""

    name = "ending"
    tries = 3
    how: str

    def handle(self, delivery: Delivery) -> None:
        """End."""
        said.append((delivery.connection, delivery.queue, delivery.attempts))
        if self.how == "raise":
            raise RuntimeError("boom")
        if self.how == "release":
            delivery.release(60)
        if self.how == "fail":
            delivery.fail()

    def failed(self, error: BaseException) -> None:
        """Say so."""
        said.append(f"failed: {type(error).__name__}")


@pytest.fixture
def queue(bench: Bench) -> SyncQueue:
    """The connection; what its listeners hear is said, too."""
    said.clear()
    bench.registry.register(Ending)
    for kind in (JobProcessing, JobProcessed, JobFailed):
        bench.events.listen(kind, lambda event: said.append(type(event).__name__))
    return SyncQueue(
        "now", Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0)), bench.events
    )


def message(how: str) -> Message:
    """A job that ends like this."""
    return Message(write("ending", {"how": how}, id="1"))


@pytest.mark.parametrize("how", ["return", "release"])
def test_a_job_runs_once_and_at_once_and_a_release_does_nothing(queue: SyncQueue, how: str) -> None:
    queue.push(message(how), queue="letters", delay=60)

    assert said == ["JobProcessing", ("now", "sync", 1), "JobProcessed"]


@pytest.mark.parametrize(("how", "error"), [("raise", RuntimeError), ("fail", ManuallyFailed)])
def test_an_error_reaches_the_dispatcher_after_failed_and_the_listeners(
    queue: SyncQueue, how: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        queue.push(message(how), queue="sync")

    assert said == ["JobProcessing", ("now", "sync", 1), f"failed: {error.__name__}", "JobFailed"]


def test_a_listener_that_raises_before_a_job_keeps_it_from_running(queue: SyncQueue, bench: Bench) -> None:
    def refuse(event: JobProcessing) -> None:
        raise LookupError("no")

    bench.events.listen(JobProcessing, refuse)

    with pytest.raises(LookupError):
        queue.push(message("return"), queue="sync")

    assert said == ["JobProcessing", "failed: LookupError", "JobFailed"]


def test_many_run_one_after_the_other_up_to_the_first_that_fails(queue: SyncQueue) -> None:
    with pytest.raises(RuntimeError):
        queue.bulk([message("return"), message("raise"), message("return")], queue="sync")

    assert [word for word in said if isinstance(word, str)] == [
        "JobProcessing",
        "JobProcessed",
        "JobProcessing",
        "failed: RuntimeError",
        "JobFailed",
    ]
