"""What the worker makes of a job whose end was decided in the process of a slot."""

from typing import Any

import pytest

from lamplighter.queue.failed.trace import format_trace
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.pools.making import make_worker
from lamplighter.queue.pools.pool import Ended
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.verdicts import ErrorElsewhere, Verdict
from tests.lamplighter.queue.conftest import Bench

OWN = ErrorElsewhere.of("app.Jobs.it", "Outer.Refused", "no", "its trace")
told: list[str] = []


class Runs(Job):
    """Runs elsewhere."""

    name = "runs"

    def handle(self) -> None:
        """Not called here."""
        told.append("handle")

    def failed(self, error: BaseException) -> None:
        """Tell the error."""
        told.append(f"failed {type(error).__name__}")


class Decided:
    """A pool whose jobs have all come to the same end."""

    failure: BaseException | None = None
    is_recorded: bool = False
    is_ready = True
    spare = 0.0

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._ended: Ended = lambda start, outcome: None

    def open(self, ended: Ended) -> None:
        """Nothing to open."""
        self._ended = ended

    def submit(self, start: Start) -> None:
        """It has ended."""
        self._ended(start, self._verdict)

    def overrun(self, start: Start) -> bool:
        """None does."""
        return False

    def stack_of(self, start: Start) -> int | None:
        """In no thread."""
        return None

    def has_ended(self, start: Start) -> bool:
        """It ends at once."""
        return False

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


def work(bench: Bench, verdict: Verdict) -> list[Any]:
    """How a job with this end was settled."""

    def make(queue: Any, runner: Runner, *arguments: Any, **keywords: Any) -> Worker:
        return make_worker(queue, runner, *arguments, pool=Decided(verdict), **keywords)

    delivery = bench.queue.add("runs")
    bench.work(bench.worker(Runs, make=make))
    return [step for step in delivery.settled if step != ("keep",)]


def test_what_is_recorded_there_is_not_recorded_again_and_failed_not_called(bench: Bench) -> None:
    settled = work(bench, Verdict("fail", error=OWN))

    assert settled == [("fail", "Refused")]
    assert (bench.failed_jobs.records, told) == ([], [])


def test_what_is_still_to_be_recorded_is_recorded_with_its_own_error(bench: Bench) -> None:
    settled = work(bench, Verdict("record", error=OWN))

    assert settled == [("fail", "Refused")]
    assert [record.error for record in bench.failed_jobs.records] == [OWN]
    assert told == ["failed Refused"]


def test_what_waits_for_its_record_is_recorded_later_and_not_run_again(bench: Bench) -> None:
    bench.failed_jobs.refusals = 1

    settled = work(bench, Verdict("hold", error=OWN, refusal=ConnectionError("away")))

    assert settled == [("release", 2.0, True), ("release", 2.0, False), ("fail", "Refused")]
    assert [(record.error, record.attempts) for record in bench.failed_jobs.records] == [(OWN, 1)]
    assert told == ["failed Refused"]


def test_an_error_of_another_process_is_shown_as_it_is_there() -> None:
    assert (str(OWN), type(OWN).__name__) == ("no", "Refused")
    assert format_trace(OWN) == "app.Jobs.it.Outer.Refused: no\nits trace\n"
