"""A long time under load, with retries and failures: nothing may grow."""

import os
import signal
import statistics
import time

import psutil
import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, POOLS
from tests.harness import Broker, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.kafka]

SECONDS = float(os.environ.get("FAULTS_SOAK", "600"))


@pytest.mark.skipif(not LONG, reason="long: make faults")
@pytest.mark.parametrize("pool", POOLS)
def test_memory_and_open_files_stay_as_they_are(kafka: Broker, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: from the second quarter to the last neither memory (8 MB) nor the number of open files grows."""
    fleet = make_fleet(kafka, pool=pool)
    producer = fleet.produce(1_000_000, lanes=100, rate=200, work=0.0005)
    worker = fleet.worker()
    wait_for(lambda: fleet.project.ledger.exists(), seconds=60)
    process = psutil.Process(worker.pid)
    samples: list[tuple[float, int]] = []
    until = time.monotonic() + SECONDS
    while (left := until - time.monotonic()) > 0:
        moment = time.monotonic() + min(5.0, left)
        wait_for(lambda: time.monotonic() >= moment)  # noqa: B023
        samples.append((process.memory_info().rss / 2**20, process.num_fds()))
    fleet.stop_producing()
    assert producer.wait(60) == 0
    fleet.wait_until_done(set(fleet.acknowledged()), seconds=120)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0

    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    memory = [statistics.mean(rss for rss, _ in part) for part in (early, late)]
    files = [max(count for _, count in part) for part in (early, late)]
    print(f"[{pool}] {SECONDS:g} s: {memory[0]:.1f} to {memory[1]:.1f} MB, {files[0]} to {files[1]} files")  # noqa: T201
    assert memory[1] - memory[0] < 8
    assert files[1] - files[0] <= 4
    fleet.check()
