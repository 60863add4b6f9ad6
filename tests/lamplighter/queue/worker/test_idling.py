"""`--stop-when-empty-for`: when a worker has been idle for long enough."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import pytest

from lamplighter.contracts import Delivery
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, Taken
from lamplighter.queue.drivers.memory import MemoryStore
from lamplighter.queue.events import WorkerStopping
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.worker.loop import Worker
from lamplighter.testing.waiting import wait_for
from tests.lamplighter.queue.conftest import POOLS, Bench

IDLE = 0.05  # seconds without a job after which a worker stops

told: list[object] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    told.clear()


@dataclass(frozen=True)
class Long(Job):
    """Takes longer than a worker waits for another job."""

    name = "long"

    def handle(self) -> None:
        """Run once."""
        threading.Event().wait(2 * IDLE)
        told.append("long")


@dataclass(frozen=True)
class Gathered(Job):
    """Waits for others of its class longer than a worker waits for another job."""

    name = "gathered"
    batch_size = 2
    batch_wait_ms = 20_000

    @classmethod
    def handle_many(cls, jobs: Sequence[Self], deliveries: Sequence[Delivery]) -> None:
        """Run a call."""
        told.append(len(jobs))


def reasons_of(bench: Bench) -> list[str]:
    """Why workers have stopped, as they tell it."""
    reasons: list[str] = []
    bench.events.listen(WorkerStopping, lambda event: reasons.append(event.reason))
    return reasons


@pytest.mark.parametrize("make", POOLS)
def test_a_worker_with_jobs_in_hand_is_not_idle(bench: Bench, make: Callable[..., Worker]) -> None:
    reasons = reasons_of(bench)
    for _ in range(6):
        bench.queue.add("long")
    worker = bench.worker(Long, make=make, concurrency=2, sleep=0.01, stop_when_empty=False, stop_when_empty_for=IDLE)

    began = time.monotonic()
    status = bench.work(worker)

    assert (status, reasons, told) == (0, ["empty_for"], ["long"] * 6)
    assert time.monotonic() - began >= 2 * IDLE * 3 + IDLE


@pytest.mark.parametrize("make", POOLS)
def test_a_worker_that_gathers_jobs_for_one_call_is_not_idle(bench: Bench, make: Callable[..., Worker]) -> None:
    bench.queue.add("gathered")
    worker = bench.worker(Gathered, make=make, sleep=0.01, stop_when_empty=False, stop_when_empty_for=IDLE)
    loop = threading.Thread(target=bench.work, args=(worker,), daemon=True)
    loop.start()
    threading.Event().wait(2 * IDLE)

    bench.queue.add("gathered")
    loop.join(5)

    assert told == [2]


@pytest.mark.parametrize("make", POOLS)
def test_the_time_of_a_pause_is_not_idle(bench: Bench, make: Callable[..., Worker]) -> None:
    reasons = reasons_of(bench)
    worker = bench.worker(Long, make=make, sleep=0.01, stop_when_empty=False, stop_when_empty_for=4 * IDLE)
    worker.control.pause()
    loop = threading.Thread(target=bench.work, args=(worker,), daemon=True)
    loop.start()
    threading.Event().wait(5 * IDLE)

    resumed = time.monotonic()
    worker.control.resume()
    loop.join(5)

    assert reasons == ["empty_for"]
    assert time.monotonic() - resumed >= 2 * IDLE


class Away(MemoryStore):
    """A store that may be away."""

    is_away = True

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Ask it."""
        if self.is_away:
            told.append("asked")
            raise Unavailable("the store is away")
        return super().take(queues, most, ended)


def test_a_queue_that_does_not_answer_is_not_empty(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.queue.drivers.leasing.queue.AWAY", IDLE / 2)
    reasons, store = reasons_of(bench), Away()
    queue = LeasingQueue("away", store, default_queue="jobs")
    bench.queue = queue  # type: ignore[assignment]
    worker = bench.worker(Long, sleep=0.01, stop_when_empty=False, stop_when_empty_for=IDLE)
    queue.open(("jobs",), worker.control.bell)
    loop = threading.Thread(target=worker.work, daemon=True)
    loop.start()

    wait_for(lambda: len(told) > 6)
    while_away = list(reasons)
    store.is_away = False
    loop.join(5)

    assert (while_away, reasons) == ([], ["empty_for"])
    assert queue.close(timeout=5)
