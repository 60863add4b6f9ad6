"""Jobs that end the process they run in, each time: fault tests 14 and 15."""

import os
import signal
from collections import Counter

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import EMPTY, LONG, POOLS, TWO, alive, children
from tests.faults.mock import Mock
from tests.harness import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

TRIES = 3
DEATHS = ("exit", "segfault", "kill")
CASES = (
    [(pool, death) for pool in POOLS for death in DEATHS]
    if LONG
    else [("solo", "segfault"), ("thread", "exit"), ("async", "kill"), ("process", "segfault")]
)


@pytest.mark.parametrize(("pool", "death"), CASES)
def test_a_job_that_kills_its_process_fails_and_its_neighbours_end(
    mock: Mock, make_fleet: MakeFleet, pool: str, death: str
) -> None:
    """Invariant: at most tries + 1 starts (tries in process slots), then failed; every neighbour ends, none fails."""
    fleet = make_fleet(mock, pool=pool, partitions=2)
    neighbours = [n for n in range(200) if n != 60]
    fleet.publish(*({"n": n, **({"die": death} if n == 60 else {"sleep": 0.005})} for n in range(200)), maxTries=TRIES)

    supervisor = fleet.supervise(1)
    fleet.wait_until_done(set(range(200)), seconds=90)
    fleet.wait_until_committed()
    statuses = supervisor.end()

    assert statuses == [0]
    assert fleet.numbers("failed") == [60]
    assert set(fleet.numbers("end")) == set(neighbours)
    starts = fleet.starts(60)
    print(f"[{pool}] {death}: started {starts} times with tries {TRIES}; workers that died: {len(supervisor.statuses)}")  # noqa: T201
    if pool == "process":
        assert (starts, supervisor.statuses) == (TRIES, [])
    else:
        assert TRIES <= starts <= TRIES + 1
    fleet.check()


@pytest.mark.parametrize("workers", [1, 2] if LONG else [1])
def test_a_job_that_kills_the_parent_of_its_slot_fails(mock: Mock, make_fleet: MakeFleet, workers: int) -> None:
    """Invariant: the count of crashes in the metadata ends the loop after tries + 1 starts; neighbours end."""
    fleet = make_fleet(mock, pool="process", partitions=2)
    fleet.publish(*({"n": n, **({"die": "parent"} if n == 30 else {})} for n in range(100)), maxTries=TRIES)

    supervisor = fleet.supervise(workers)
    fleet.wait_until_done(set(range(100)), seconds=120)
    fleet.wait_until_committed()
    supervisor.end()

    print(f"{workers} workers: started {fleet.starts(30)} times; died: {len(supervisor.statuses)}")  # noqa: T201
    assert TRIES <= fleet.starts(30) <= TRIES + 1
    assert fleet.numbers("failed") == [30]
    assert set(fleet.numbers("end")) == set(range(100)) - {30}
    fleet.check()


@pytest.mark.parametrize(("pool", "death"), [("solo", "exit"), ("process", "parent")])
def test_a_job_without_a_word_about_tries_gets_one_more_start_after_a_crash(
    mock: Mock, make_fleet: MakeFleet, pool: str, death: str
) -> None:
    """Invariant: with the option's own tries of 1 an innocent job is not failed by one crash of its worker."""
    fleet = make_fleet(mock, pool=pool, partitions=1)
    # The first crash leaves no mark; the second is one that the job may be blamed for, and is spared.
    # They have one key: beside each other either would be in hand at the other's crashes, too.
    killers = ({"n": 1, "die": death, "die_starts": 2}, {"n": 2, "die": death})
    fleet.publish({"n": 0}, *({**killer, "lane": "one"} for killer in killers), {"n": 3})

    supervisor = fleet.supervise(1)
    fleet.wait_until_done({0, 1, 2, 3}, seconds=60)
    fleet.wait_until_committed()
    supervisor.end()

    assert fleet.numbers("failed") == [2]
    assert {0, 1, 3} <= set(fleet.numbers("end"))
    assert fleet.starts(2) <= 3
    fleet.check()


@pytest.mark.parametrize("tries", [1, TRIES] if LONG else [1])
def test_an_owner_that_leaves_in_order_forgets_no_crash_of_another(
    mock: Mock, make_fleet: MakeFleet, tries: int
) -> None:
    """Invariant: a crash loop has no more starts where owners come and go that have not begun the job."""
    fleet = make_fleet(mock, pool="solo", partitions=1)
    fleet.publish({"n": 0, "die": "exit"}, {"n": 1}, maxTries=tries)

    for _ in range(TRIES + 2):
        if fleet.worker(*EMPTY).wait(60) == 0:
            break
        fleet.project.artisan("down")
        other = fleet.worker()
        # It commits when the first message has come.
        wait_for(lambda other=other: other.pid in {line["pid"] for line in fleet.events("commit answered")})  # type: ignore[misc]
        other.send_signal(signal.SIGTERM)
        assert other.wait(40) == 0, fleet.project.log()
        fleet.project.artisan("up")

    assert tries <= fleet.starts(0) <= tries + 1
    assert fleet.numbers("failed") == [0]
    assert fleet.numbers("end") == [1]
    fleet.check()


@pytest.mark.parametrize("pool", TWO)
def test_a_job_whose_settlement_ends_the_worker_fails_and_its_neighbours_end(
    mock: Mock, make_fleet: MakeFleet, pool: str
) -> None:
    """Invariant: an error of the framework's own counts the start that it met, and no other; `tries` starts in all."""
    fleet = make_fleet(mock, pool=pool, partitions=1)
    fleet.project.provide("tests.faults.breaking:BreakingProvider")
    neighbours = [n for n in range(60) if n != 20]
    jobs = ({"n": n, **({"fail_until": 99} if n == 20 else {"sleep": 0.01})} for n in range(60))
    fleet.publish(*jobs, maxTries=TRIES)

    supervisor = fleet.supervise(1)
    fleet.wait_until_done(set(range(60)), seconds=60)
    fleet.wait_until_committed()
    statuses = supervisor.end()

    assert (statuses, supervisor.statuses) == ([0], [1] * TRIES)
    assert fleet.numbers("failed") == [20]
    assert fleet.starts(20) == TRIES
    assert set(fleet.numbers("end")) == set(neighbours)
    assert max(line["attempts"] for line in fleet.events("end")) == 1
    assert [line["error"] for line in fleet.events("failed")] == ["MaxAttemptsExceeded"]
    fleet.check()


def test_no_slot_outlives_its_worker(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: after kill -9 of a worker no process slot of it runs, and none of its jobs goes on."""
    fleet = make_fleet(mock, pool="process", partitions=1)
    fleet.publish(*({"n": n, "sleep": 2} for n in range(4)))
    worker = fleet.worker()
    wait_for(lambda: len(fleet.events("start")) == 2)
    slots = children(worker.pid)

    fleet.kill(worker)

    wait_for(lambda: not any(map(alive, slots)), seconds=2, what="the end of the slots")
    assert len(slots) == 2
    assert fleet.worker(*EMPTY).wait(60) == 0
    assert Counter(fleet.numbers("end")) == Counter(range(4))
    fleet.check()


def test_slots_that_are_killed_from_outside_cost_their_job_an_attempt_alone(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: kill -9 of each slot in turn loses nothing, ends no worker, and fails no job with tries left."""
    fleet = make_fleet(mock, pool="process", partitions=2)
    fleet.publish(*({"n": n, "sleep": 0.05} for n in range(200)), maxTries=9)
    worker = fleet.worker()
    for count in range(6 if LONG else 3):
        wait_for(lambda count=count: len(fleet.events("start")) > 10 + 12 * count)  # type: ignore[misc]
        victim = fleet.events("start")[-1]["pid"]
        if alive(victim):
            os.kill(victim, signal.SIGKILL)

    fleet.wait_until_done(set(range(200)))
    fleet.wait_until_committed()

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, fleet.project.log()
    assert fleet.numbers("failed") == []
    assert set(fleet.numbers("end")) == set(range(200))
    assert len(fleet.events("start")) <= 200 + 6
