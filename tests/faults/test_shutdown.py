"""Stopping, in every pool: fault tests 4, 5 and 6."""

import signal
import time
from collections import Counter

import pytest

from lamplighter.kafka.settings.tiers import SHORT
from tests.faults.conftest import MakeFleet
from tests.faults.fleet import EMPTY, LONG, POOLS, TWO, alive, children
from tests.faults.mock import INIT_PRODUCER_ID, Mock
from tests.harness import Broker, Node, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.mark.kafka
@pytest.mark.parametrize("pool", POOLS)
def test_term_under_load_runs_nothing_twice(kafka: Broker, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: jobs in hand end and are committed, nothing is run again, partitions move within 5 s."""
    fleet = make_fleet(kafka, pool=pool)
    fleet.publish(*({"n": n, "sleep": 0.05} for n in range(600)))
    worker = fleet.worker()
    wait_for(lambda: len(fleet.events("end")) > 30)

    worker.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert worker.wait(20) == 0, fleet.project.log()
    took = time.monotonic() - began
    before = len(fleet.events("start"))
    heir = fleet.worker(log="heir.log")
    # Its first line comes when it joins: how long a busy machine takes to boot it is another question.
    wait_for(lambda: fleet.project.log("heir.log"), seconds=60)
    began = time.monotonic()
    wait_for(lambda: len(fleet.events("start")) > before)
    moved = time.monotonic() - began
    fleet.wait_until_done(set(range(600)))
    heir.send_signal(signal.SIGTERM)
    assert heir.wait(20) == 0

    print(f"[{pool}] left within {took:.2f} s; the next one began {moved:.2f} s after it had joined")  # noqa: T201
    assert took < 5
    assert moved < 5
    assert Counter(fleet.numbers("start")) == Counter(range(600))
    fleet.check()


@pytest.mark.kafka
@pytest.mark.parametrize("after", [0.0, 0.3, 1.0] if LONG else [0.3])
def test_term_soon_after_joining_leaves_at_once(kafka: Broker, make_fleet: MakeFleet, after: float) -> None:
    """Invariant: a worker that leaves while the group is still changing keeps no partition from the others."""
    fleet = make_fleet(kafka)
    fleet.project.configure(session_timeout=20)
    fleet.publish(*({"n": n, "sleep": 0.02} for n in range(400)))
    stays = fleet.worker()
    wait_for(lambda: fleet.events("end"))
    leaves = fleet.worker(log="leaves.log")
    wait_for(lambda: "partitions assigned" in fleet.project.log("leaves.log"), seconds=20)
    moment = time.monotonic() + after
    wait_for(lambda: time.monotonic() >= moment)

    leaves.send_signal(signal.SIGTERM)
    assert leaves.wait(20) == 0
    left = time.monotonic()
    fleet.publish(*({"n": n} for n in range(400, 440)))
    fleet.wait_until_done(set(range(440)), seconds=40)

    stays.send_signal(signal.SIGTERM)
    assert stays.wait(20) == 0
    print(f"done {time.monotonic() - left:.1f} s later")  # noqa: T201
    gaps = [b["at"] - a["at"] for a, b in zip(fleet.events("end"), fleet.events("end")[1:], strict=False)]
    assert max(gaps) < 5
    fleet.check()


@pytest.mark.kafka
@pytest.mark.parametrize("pool", TWO)
def test_term_with_a_broker_that_is_frozen_ends_at_the_deadline(node: Node, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: exit within --shutdown-timeout after the jobs in hand, and what was not committed runs again."""
    fleet = make_fleet(Broker(node.address), pool=pool)
    fleet.publish(*({"n": n, "sleep": 0.02} for n in range(400)))
    worker = fleet.worker("--shutdown-timeout=5")
    wait_for(lambda: len(fleet.events("end")) > 50)
    since = time.time()
    node("freeze", "1")
    try:
        moment = time.monotonic() + 1.5
        wait_for(lambda: time.monotonic() > moment)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        status = worker.wait(40)
        took = time.monotonic() - began
    finally:
        node("thaw", "1")
    fleet.kills[worker.pid] = time.time()
    fleet.away.append((since, time.time()))
    print(f"[{pool}] ended with {status} after {took:.1f} s")  # noqa: T201
    assert (status, took < 8) == (1, True), fleet.project.log()
    assert fleet.worker(*EMPTY).wait(60) == 0
    assert set(fleet.numbers("end")) == set(range(400))
    fleet.check()


@pytest.mark.kafka
@pytest.mark.parametrize("pool", POOLS if LONG else ["solo"])
def test_term_with_a_broker_that_is_dead_ends_at_the_deadline(node: Node, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: exit within --shutdown-timeout after the jobs in hand, and what was not committed runs again."""
    fleet = make_fleet(Broker(node.address), pool=pool)
    fleet.publish(*({"n": n, "sleep": 0.02} for n in range(300)))
    worker = fleet.worker("--shutdown-timeout=5")
    wait_for(lambda: len(fleet.events("end")) > 50)
    since = time.time()
    node("kill", "1")
    try:
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        status = worker.wait(40)
        took = time.monotonic() - began
    finally:
        node("start", "1")
    fleet.kills[worker.pid] = time.time()
    fleet.away.append((since, time.time()))
    print(f"[{pool}] ended with {status} after {took:.1f} s")  # noqa: T201
    assert took < 8
    # Where the session was over before, there was nothing left that could have been told.
    assert status == 1 or "partitions lost" in fleet.project.log()
    assert fleet.worker(*EMPTY).wait(60) == 0
    assert set(fleet.numbers("end")) == set(range(300))
    fleet.check()


@pytest.mark.parametrize("pool", TWO)
def test_a_job_longer_than_the_grace_is_left_and_run_again(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: exit at the deadline; the job is run again by the next worker, as the next attempt."""
    fleet = make_fleet(mock, pool=pool, partitions=1)
    fleet.publish({"n": 0, "sleep": 7}, maxTries=3)
    fleet.publish(*({"n": n} for n in range(1, 20)), maxTries=3)
    worker = fleet.worker("--grace=2")
    wait_for(lambda: 0 in fleet.numbers("start"))

    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    status = worker.wait(40)
    took = time.monotonic() - began
    print(f"[{pool}] ended with {status} after {took:.1f} s")  # noqa: T201
    assert 2 <= took < 10
    # The process of its slot is ended alone, so that the worker itself leaves in order.
    assert status == (0 if pool == "process" else 1)
    fleet.kills[worker.pid] = time.time()
    assert fleet.worker(*EMPTY, log="second.log").wait(60) == 0, fleet.project.log("second.log")

    assert set(fleet.numbers("end")) == set(range(20))
    assert [line["attempts"] for line in fleet.events("start") if line["n"] == 0][-1] == 2
    assert fleet.numbers("failed") == []
    fleet.check()


@pytest.mark.parametrize("pool", POOLS)
def test_a_second_signal_ends_at_once(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: nobody waits for a long job after the second signal, no slot is left, nothing is lost."""
    fleet = make_fleet(mock, pool=pool, partitions=1)
    fleet.publish({"n": 0, "sleep": 6}, {"n": 1})
    worker = fleet.worker()
    wait_for(lambda: 0 in fleet.numbers("start"))
    slots = children(worker.pid)

    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    moment = time.monotonic() + 0.5
    wait_for(lambda: time.monotonic() > moment)
    worker.send_signal(signal.SIGTERM)
    status = worker.wait(40)

    print(f"[{pool}] ended with {status} after {time.monotonic() - began:.1f} s")  # noqa: T201
    assert time.monotonic() - began < 5
    assert status != 0
    assert 0 not in fleet.numbers("end")
    fleet.kills[worker.pid] = time.time()
    wait_for(lambda: not any(map(alive, slots)), seconds=2, what="the end of the slots")
    assert fleet.worker(*EMPTY).wait(60) == 0, fleet.project.log()
    assert set(fleet.numbers("end")) == {0, 1}
    fleet.check()


@pytest.mark.parametrize("pool", TWO)
def test_queue_restart_ends_every_worker_after_its_jobs_in_hand(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: all workers end, each within the jobs that it has in hand, while messages keep coming."""
    fleet = make_fleet(mock, pool=pool, partitions=4)
    fleet.publish(*({"n": n, "sleep": 0.05} for n in range(3000)))
    workers = [fleet.worker(log=f"worker-{n}.log") for n in range(2)]
    pids = {worker.pid for worker in workers}
    wait_for(
        lambda: len(pids & {p for line in fleet.events("start") for p in (line["pid"], line["parent"])}) == 2,
        seconds=60,
        what="a job of each worker",
    )

    fleet.project.artisan("queue:restart")
    readable = time.time()
    statuses = [worker.wait(20) for worker in workers]

    assert statuses == [0, 0]
    late = max(line["at"] for line in fleet.events("start")) - readable
    print(f"[{pool}] the last job began {late:.2f} s after the signal was readable")  # noqa: T201
    assert late <= 1.5
    started = Counter(line["run"] for line in fleet.events("start"))
    assert set(started) == {line["run"] for line in fleet.events("end")}
    fleet.check()


def test_term_while_the_brokers_time_is_not_known_ends_at_once(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: brokers that give no producer its id, as those that have just come back, hold up no worker's end."""
    fleet = make_fleet(mock)
    for seconds in SHORT:
        mock("topic", f"{fleet.topic}.delay.{seconds}", 1)
    fleet.publish({"n": 0})
    mock.refuse(INIT_PRODUCER_ID, *[14] * 1000)
    worker = fleet.worker()
    wait_for(lambda: 0 in fleet.numbers("end"))

    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0, fleet.project.log()

    assert time.monotonic() - began < 2.5
