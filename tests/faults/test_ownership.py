"""Partitions that move: fault tests 9, 11 and 12."""

import os
import signal
import time
from itertools import pairwise

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, POOLS, SLOTS, Fleet, seed
from tests.faults.mock import Mock
from tests.harness import Broker, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

STANDSTILL = 30.0  # seconds that no partition may be without progress


def scale(fleet: Fleet, *, seconds: float, every: float) -> None:
    """1, 5, 2, 4 workers in turn, while jobs keep coming; each partition has to go on."""
    rate = 60.0
    count = int(seconds * rate)
    producer = fleet.produce(count, lanes=200, rate=rate, sleep=0.01)
    running = [fleet.worker()]
    wait_for(lambda: fleet.events("end"), seconds=60, what="the first job")
    began = time.monotonic()
    turn = 0
    while time.monotonic() - began < seconds:
        turn += 1
        wanted = (1, 5, 2, 4)[turn % 4]
        while len(running) > wanted:
            running.pop(0).send_signal(signal.SIGTERM)
        while len(running) < wanted:
            running.append(fleet.worker())
        until = time.monotonic() + every
        wait_for(lambda: time.monotonic() >= until, seconds=every + 5)  # noqa: B023
    assert producer.wait(120) == 0
    fleet.wait_until_done(set(fleet.acknowledged()), seconds=90)
    fleet.wait_until_committed()
    for worker in running:
        worker.send_signal(signal.SIGTERM)
    # One that was still starting had no handler yet, and nothing in hand.
    assert {worker.wait(40) for worker in fleet.workers} <= {0, -signal.SIGTERM}, fleet.project.log()
    verdict = fleet.check()
    gaps = standstills(fleet)
    print(f"{turn} changes; longest time without progress of a partition: {max(gaps):.1f} s")  # noqa: T201
    assert max(gaps) < STANDSTILL
    assert verdict.again_unfinished <= turn * 5 * SLOTS[fleet.pool]


def standstills(fleet: Fleet) -> list[float]:
    """The longest time between two ends of jobs, for each partition."""
    ends: dict[str, list[float]] = {}
    for line in fleet.events("end"):
        ends.setdefault(line["position"].partition("@")[0], []).append(line["at"])
    assert len(ends) == fleet.partitions
    return [max(b - a for a, b in pairwise(times)) for times in map(sorted, ends.values())]


@pytest.mark.skipif(not LONG, reason="long: make faults")
@pytest.mark.parametrize("pool", POOLS)
def test_scaling_on_a_mock_cluster(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: none lost, no partition still for 30 s, committed offsets never go back."""
    # Each change of its group takes 4 s there, and a worker with process slots boots for long.
    scale(make_fleet(mock, pool=pool), seconds=180, every=16 if pool == "process" else 8)


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("pool", POOLS if LONG else ("thread",))
def test_scaling_on_a_real_kafka(kafka: Broker, make_fleet: MakeFleet, pool: str, protocol: str) -> None:
    """Invariant: none lost, no partition still for 30 s, committed offsets never go back."""
    fleet = make_fleet(kafka, pool=pool)
    fleet.project.configure(group_protocol=protocol)
    scale(fleet, seconds=float(os.environ.get("FAULTS_SCALE", "180" if LONG else "25")), every=5)


@pytest.mark.kafka
@pytest.mark.parametrize("pool", POOLS if LONG else ("process",))
def test_a_zombie_commits_nothing_over_its_heir(kafka: Broker, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: frozen longer than its session, then thawed: commits never go back, its late work is void."""
    fleet = make_fleet(kafka, pool=pool, partitions=2)
    fleet.publish(*({"n": n, "sleep": 0.02} for n in range(1500)))
    # A job that is in hand is frozen, too, and would have overrun.
    zombie = fleet.worker("--timeout=0", log="zombie.log")
    wait_for(lambda: len(fleet.events("end")) > 50)
    fleet.kills[zombie.pid] = time.time()
    os.kill(zombie.pid, signal.SIGSTOP)
    heir = fleet.worker()
    wait_for(lambda: _has_begun(fleet, heir.pid), seconds=60, what="the heir's first job")
    frozen = 60.0 if LONG else 6.0
    until = time.monotonic() + frozen
    wait_for(lambda: time.monotonic() > until, seconds=frozen + 10)

    fleet.excuses.thawed[zombie.pid] = time.time()
    os.kill(zombie.pid, signal.SIGCONT)
    fleet.wait_until_done(set(range(1500)), seconds=120)
    fleet.wait_until_committed()

    for worker in (zombie, heir):
        worker.send_signal(signal.SIGTERM)
    assert (zombie.wait(40), heir.wait(40)) == (0, 0)
    fleet.check()


def _has_begun(fleet: Fleet, worker: int) -> bool:
    return any(worker in (line["pid"], line["parent"]) for line in fleet.events("start"))


@pytest.mark.parametrize("where", [*(["mock"] if LONG else []), pytest.param("kafka", marks=pytest.mark.kafka)])
def test_a_partition_that_was_paused_when_it_left_goes_on_when_it_is_back(
    request: pytest.FixtureRequest, make_fleet: MakeFleet, where: str
) -> None:
    """Invariant: paused by back-pressure, revoked, assigned to the same process again: it is worked."""
    chance = seed()
    fleet = make_fleet(request.getfixturevalue(where), partitions=2)
    fleet.project.configure(prefetch=20)
    fleet.publish(*({"n": n, "sleep": 0.01} for n in range(2500)))
    first = fleet.worker()
    wait_for(lambda: len(fleet.events("end")) > 50)
    for _ in range(2):
        second = fleet.worker(log="second.log")
        wait_for(lambda: _has_begun(fleet, second.pid), seconds=40, what="the second's first job")  # noqa: B023
        goal = len(fleet.events("end")) + chance.randint(20, 60)
        wait_for(lambda: len(fleet.events("end")) > goal)  # noqa: B023
        second.send_signal(signal.SIGTERM)
        assert second.wait(40) == 0
    fleet.wait_until_done(set(range(2500)), seconds=90)
    fleet.wait_until_committed()

    first.send_signal(signal.SIGTERM)
    assert first.wait(40) == 0
    fleet.check()
