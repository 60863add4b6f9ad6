"""Jobs that take longer than the group's clocks: fault test 10."""

import signal
import time
from collections import Counter

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, TWO
from tests.harness import Broker, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

INTERVAL = 10.0 if LONG else 3.5  # seconds of max.poll.interval


@pytest.mark.parametrize("where", ["mock", pytest.param("kafka", marks=pytest.mark.kafka)] if LONG else ["mock"])
@pytest.mark.parametrize("pool", TWO)
def test_a_job_of_three_poll_intervals_runs_once(
    request: pytest.FixtureRequest, make_fleet: MakeFleet, pool: str, where: str
) -> None:
    """Invariant: a job longer than max.poll.interval is run once, keeps its partition, and its neighbours go on."""
    fleet = make_fleet(request.getfixturevalue(where), pool=pool, partitions=1)
    fleet.project.configure(max_poll_interval=INTERVAL)
    fleet.publish({"n": 0, "sleep": 3 * INTERVAL}, *({"n": n, "sleep": 0.01} for n in range(1, 100)))
    workers = [fleet.worker(log="first.log")]
    wait_for(lambda: 0 in fleet.numbers("start"))
    workers.append(fleet.worker(log="second.log"))

    fleet.wait_until_done(set(range(100)), seconds=3 * INTERVAL + 40)
    fleet.wait_until_committed()
    for worker in workers:
        worker.send_signal(signal.SIGTERM)

    assert [worker.wait(40) for worker in workers] == [0, 0]
    assert Counter(fleet.numbers("start")) == Counter(range(100))
    fleet.check()


@pytest.mark.kafka
@pytest.mark.skipif(not LONG, reason="long: make faults")
@pytest.mark.parametrize("pool", ["solo", "process"])
def test_a_job_of_ten_minutes_runs_once(kafka: Broker, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: the defaults of the clocks hold for a job of ten minutes, too."""
    fleet = make_fleet(kafka, pool=pool, partitions=2)
    fleet.publish({"n": 0, "sleep": 600}, *({"n": n} for n in range(1, 100)), timeout=700)
    worker = fleet.worker()
    began = time.monotonic()

    fleet.wait_until_done(set(range(100)), seconds=700)
    fleet.wait_until_committed()
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(40) == 0
    assert time.monotonic() - began > 599
    assert Counter(fleet.numbers("start")) == Counter(range(100))
    fleet.check()
