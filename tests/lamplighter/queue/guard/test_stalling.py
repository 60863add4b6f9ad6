"""What is done about a worker that stands still."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pytest

from lamplighter.contracts import DriverDelivery
from lamplighter.queue.events import WorkerStalled
from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.guard.stalling import Stalling
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.pools import concurrent
from lamplighter.queue.pools.making import make_worker
from lamplighter.queue.pools.pool import Ended
from lamplighter.queue.worker.runner import Start
from tests.harness import wait_for
from tests.lamplighter.queue.conftest import Bench, ListQueue


@dataclass
class Still(ListQueue):
    """A connection in which nothing goes on."""

    def stall(self, *, is_busy: bool) -> str | None:
        """What is seen."""
        return None if is_busy else "lag 5"


def test_a_worker_that_stands_still_is_told_of_once_and_asked_to_stop(bench: Bench) -> None:
    heard: list[WorkerStalled] = []
    bench.events.listen(WorkerStalled, heard.append)
    bench.queue = Still()
    worker = bench.worker()
    look = Stalling(worker.jobs, worker.control, bench.queue, bench.events, ("jobs",), rest=0)

    look()
    look()
    wait_for(lambda: heard)

    assert heard == [WorkerStalled("list", ("jobs",), "lag 5")]
    assert worker.work() == StopReason.STALLED.exit_code


class Over(Exception):
    """The test is."""


@dataclass
class Hanging(Still):
    """A connection that gives what is in line, and then lets whoever pops wait until the test is over."""

    is_over: threading.Event = field(default_factory=threading.Event)

    def pop(self, names: Sequence[str], wait: float) -> DriverDelivery | None:
        """The first in line."""
        if not self.line:
            self.is_over.wait(30)
            raise Over
        return self.line.popleft()


class Slots:
    """A pool in which jobs run on and on."""

    failure: BaseException | None = None
    is_recorded: bool = False
    is_ready = True
    spare = 0.0

    def open(self, ended: Ended) -> None:
        """Nothing ever ends."""

    def submit(self, start: Start) -> None:
        """It runs."""

    def overrun(self, start: Start) -> bool:
        """It can't be ended."""
        return False

    def has_ended(self, start: Start) -> bool:
        """Nothing ever ends."""
        return False

    def stack_of(self, start: Start) -> int | None:
        """It has no thread."""
        return None

    def close(self) -> None:
        """Nothing to end."""


class Endless(Job):
    """A job without a timeout."""

    def handle(self) -> None:
        """Its slot runs it."""


def test_a_job_in_a_slot_is_no_excuse_for_a_loop_that_stands_still(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = bench.queue = Hanging()
    queue.add(Endless.wire_name())
    worker = bench.worker(
        Endless,
        make=partial(make_worker, pool=Slots()),
        concurrency=2,
        defaults=Policy(tries=1, backoff=(), timeout=0),
    )

    def work() -> None:
        with suppress(Over):
            worker.work()

    loop = threading.Thread(target=work, daemon=True)
    loop.start()
    wait_for(lambda: worker.jobs.is_at_work)

    monkeypatch.setattr(concurrent, "LATE", 0)
    wait_for(lambda: not worker.jobs.is_at_work)

    assert not worker.hand.is_empty()
    queue.is_over.set()
    loop.join()
