"""Order by key under retries, and what it costs: "it must show" 6."""

import random
import signal
import time
from collections import defaultdict

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, seed
from tests.harness import Broker

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.kafka]

POOLS = {"thread": "--concurrency=8", "async": "--concurrency=8", "process": "--concurrency=8"}


@pytest.mark.parametrize("pool", POOLS if LONG else ("thread",))
def test_events_of_many_keys_with_retries_stay_in_order(kafka: Broker, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: per key in order; the time is that of the slots, not the sum of the waits."""
    chance = seed()
    jobs = 10_000 if LONG else 2000
    fleet = make_fleet(kafka, pool=pool)
    fleet.publish(*_events(chance, jobs), maxTries=4)
    worker = fleet.worker(POOLS[pool], "--backoff=1")
    began = time.monotonic()
    fleet.wait_until_done(set(range(jobs)), seconds=240)
    took = time.monotonic() - began
    fleet.wait_until_committed()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0

    retries = len(fleet.events("error"))
    ends: dict[str, list[int]] = defaultdict(list)
    for line in fleet.events("end"):
        ends[line["lane"]].append(line["n"])
    assert all(numbers == sorted(numbers) for numbers in ends.values())
    assert sum(map(len, ends.values())) == jobs
    print(f"[{pool}] {jobs} events, {retries} retries of 1 s: {took:.1f} s")  # noqa: T201
    # One key has jobs / 100 events: its own waits follow each other, those of the others run beside it.
    assert took < retries / 3
    fleet.check()


def _events(chance: random.Random, jobs: int) -> list[dict[str, object]]:
    return [
        {
            "n": n,
            "lane": f"lane-{n % 100}",
            "sleep": 0.005,
            "fail_until": chance.choice((1, 2)) if chance.random() < 0.05 else 0,
        }
        for n in range(jobs)
    ]
