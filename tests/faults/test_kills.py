"""kill -9 of workers and brokers at any moment: fault tests 1, 2 and 7."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import EMPTY, LONG, POOLS, SLOTS, Fleet, seed
from tests.faults.mock import Mock
from tests.harness import Broker, Node, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLER = '''
"""The console, dying by SIGKILL at the n-th passing of one line."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bootstrap.app import create_app
from lamplighter.kafka.polling.committer import Committer
from lamplighter.kafka.delays.copies import Copies
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.queue.worker.settling import Settling

PLACES = {
    "before the settlement": (Settling, "settle", "before"),
    "after the settlement": (KafkaDelivery, "delete", "after"),
    "before the commit": (Committer, "commit", "before"),
    "after the commit was sent": (Committer, "commit", "after"),
    "after copies were acknowledged": (Copies, "reported", "with something"),
}
cls, name, when = PLACES[os.environ["KILL_AT"]]
left = int(os.environ["KILL_AFTER"])
original = getattr(cls, name)


def passing(*arguments, **keywords):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **keywords)
    if when == "with something" and not result:
        left += 1
    elif left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result


setattr(cls, name, passing)
sys.exit(create_app().run(sys.argv[1:]))
'''


def storm(fleet: Fleet, *, jobs: int, kills: int, workers: int, brokers: Node | None = None) -> None:
    """Dispatch while workers, and twice the brokers, are killed at random moments; then look what is left."""
    chance = seed()
    began = time.monotonic()
    # Not faster than the kills, which would else come when all is done.
    producer = fleet.produce(jobs, lanes=jobs // 20, work=0.001, rate=jobs / (1.1 * kills))
    supervisor = fleet.supervise(workers)
    wait_for(lambda: fleet.events("end"), seconds=60, what="the first job")
    harm = {kills // 3: "1", 2 * kills // 3: "2"} if brokers is not None else {}
    for number in range(kills):
        ended = len(fleet.events("end"))
        moment = time.monotonic() + chance.uniform(0.2, 2.0)
        wait_for(lambda: time.monotonic() > moment)  # noqa: B023
        supervisor.kill_one(chance)
        if brokers is not None and number in harm:
            since = time.time()
            brokers("kill", harm[number])
            brokers("start", harm[number])
            fleet.away.append((since, time.time() + 15))
        if number % 5 == 4:  # without a moment of peace nothing could be done
            goal = min(ended, jobs - 1)
            wait_for(lambda: len(fleet.events("end")) > goal, seconds=90, what="progress")  # noqa: B023
    assert producer.wait(600) == 0
    fleet.wait_until_done(set(range(jobs)), seconds=600)
    fleet.wait_until_committed(seconds=90)
    # One that was still starting had no handler yet. Nobody has ended by himself.
    assert set(supervisor.end()) <= {0, -signal.SIGTERM}, fleet.project.log()
    assert set(supervisor.statuses) == {-signal.SIGKILL}, fleet.project.log()
    print(f"{jobs} jobs, {kills} kills, {workers} workers, {time.monotonic() - began:.0f} s")  # noqa: T201
    verdict = fleet.check()
    slots = SLOTS[fleet.pool]
    _check_the_blamed(fleet, kills)
    # Each kill takes what was in hand with it; each joining moves partitions, and with them what is in hand.
    assert verdict.again_unfinished <= (2 * kills + workers) * slots * workers


def _check_the_blamed(fleet: Fleet, kills: int) -> None:
    """A job that was announced as in hand at two kills is taken for their cause: few are, and each is recorded."""
    blamed = fleet.events("failed")
    if blamed:
        print(f"{len(blamed)} were in hand at two kills and are among the failed jobs")  # noqa: T201
    assert {line["error"] for line in blamed} <= {"MaxAttemptsExceeded"}
    assert len(blamed) <= kills // 4


@pytest.mark.parametrize("pool", POOLS if LONG else ("thread",))
def test_a_storm_of_kills_on_a_mock_cluster(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: none lost; run again only what was in hand, or finished within a commit interval and not yet told."""
    storm(make_fleet(mock, pool=pool), jobs=3000 if LONG else 1000, kills=20 if LONG else 5, workers=2)


@pytest.mark.kafka
@pytest.mark.parametrize("pool", POOLS if LONG else ("solo", "process"))
def test_a_storm_of_kills_on_a_real_kafka(kafka: Broker, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: none lost; run again only what was in hand, or finished within a commit interval and not yet told."""
    storm(make_fleet(kafka, pool=pool), jobs=5000 if LONG else 1500, kills=50 if LONG else 6, workers=3)


@pytest.mark.kafka
@pytest.mark.skipif(not LONG, reason="long: make faults")
@pytest.mark.parametrize("pool", POOLS)
def test_a_storm_of_kills_on_three_nodes_of_which_two_are_killed_too(
    nodes: Node, make_fleet: MakeFleet, pool: str
) -> None:
    """Invariant: none of 20,000 lost by 50 kills of four workers and two of brokers; run again as above."""
    storm(make_fleet(Broker(nodes.address), pool=pool), jobs=20_000, kills=50, workers=4, brokers=nodes)


PLACES = ["before the settlement", "after the settlement", "before the commit", "after the commit was sent"]


@pytest.mark.parametrize("place", PLACES if LONG else PLACES[1::2])
def test_killed_between_the_end_of_a_job_and_its_commit(mock: Mock, make_fleet: MakeFleet, place: str) -> None:
    """Invariant: each job ends; what a commit has told is not run again, and no commit tells what has not ended."""
    fleet = make_fleet(mock, partitions=1)
    (fleet.project.folder / "killer.py").write_text(KILLER)
    fleet.publish(*({"n": n, "sleep": 0.02} for n in range(200)))

    worker = fleet.project.worker(
        "-q", program="killer.py", KILL_AT=place, KILL_AFTER="3" if "commit" in place else "150"
    )
    assert worker.wait(60) == -signal.SIGKILL
    fleet.kills[worker.pid] = time.time()
    assert fleet.worker(*EMPTY).wait(60) == 0, fleet.project.log()

    assert set(fleet.numbers("end")) == set(range(200))
    again = sum(count - 1 for count in Counter(fleet.numbers("end")).values())
    print(f"{place}: {again} run again")  # noqa: T201
    assert again <= 100  # two commit intervals, at 20 ms a job
    fleet.check()


@pytest.mark.kafka
def test_killed_between_the_copy_of_a_retry_and_its_original(kafka: Broker, make_fleet: MakeFleet) -> None:
    """Invariant: with the copy acknowledged and the original not done, the job ends once or twice, never not at all."""
    fleet = make_fleet(kafka, partitions=1)
    fleet.project.configure(ordering="none")
    fleet.project.artisan("kafka:topics", "--create")
    (fleet.project.folder / "killer.py").write_text(KILLER)
    fleet.publish(*({"n": n, "fail_until": n % 2, "sleep": 0.01} for n in range(60)), maxTries=3)

    options = ("-q", "--backoff=2")
    place = "after copies were acknowledged"
    worker = fleet.project.worker(*options, program="killer.py", KILL_AT=place, KILL_AFTER="5")
    assert worker.wait(60) == -signal.SIGKILL, fleet.project.log()
    heir = fleet.worker(*options)
    fleet.wait_until_done(set(range(60)), seconds=60)
    fleet.wait_until_committed()

    heir.send_signal(signal.SIGTERM)
    assert heir.wait(40) == 0
    ends = Counter(fleet.numbers("end"))
    print(f"{sum(count - 1 for count in ends.values())} of 60 ended twice")  # noqa: T201
    assert max(ends.values()) <= 2
    assert fleet.numbers("failed") == []


def test_what_is_finished_beside_a_long_job_is_not_run_again_after_kill_9(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: exactly what no commit had told is run again; here one job, since the rest is told already."""
    fleet = make_fleet(mock, pool="thread", partitions=1)
    fleet.publish({"n": 0, "sleep": 60}, *({"n": n} for n in range(1, 300)), timeout=0)
    worker = fleet.worker()
    wait_for(lambda: set(range(1, 300)) <= set(fleet.numbers("end")))
    moment = time.time()
    wait_for(lambda: any(at > moment for at, *_ in fleet.seen()), what="the commit that tells it")
    moment = time.monotonic() + 2.5
    wait_for(lambda: time.monotonic() > moment)

    fleet.kill(worker)
    heir = fleet.worker()
    wait_for(lambda: fleet.starts(0) == 2, seconds=60)
    fleet.publish({"n": 300})
    wait_for(lambda: 300 in fleet.numbers("end"), seconds=60)

    assert Counter(fleet.numbers("start")) == Counter([0, *range(301)]), fleet.project.log()
    fleet.kill(heir)
    verdict = fleet.check()
    assert verdict.known_beyond_prefix >= 299


@pytest.mark.kafka
def test_kill_9_of_the_only_broker_under_load(node: Node, make_fleet: MakeFleet) -> None:
    """Invariant: every acknowledged job ends; workers come back by themselves, within 60 s."""
    fleet = make_fleet(Broker(node.address), pool="thread")
    producer = fleet.produce(100_000, lanes=50, rate=100)
    worker = fleet.worker()
    for _ in range(2):
        ended = len(fleet.events("end"))
        wait_for(lambda: len(fleet.events("end")) > ended + 100)  # noqa: B023
        since = time.time()
        node("kill", "1")
        node("start", "1")
        fleet.away.append((since, time.time() + 15))
        back = len(fleet.events("end"))
        wait_for(lambda: len(fleet.events("end")) > back, seconds=60)  # noqa: B023
    fleet.stop_producing()
    assert producer.wait(60) == 0
    fleet.wait_until_done(set(fleet.acknowledged()))
    fleet.wait_until_committed()

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0, fleet.project.log()
    fleet.check()


def test_a_fork_after_the_connection_sends_nothing_twice(mock: Mock, make_fleet: MakeFleet, tmp_path: Path) -> None:
    """Invariant: a child that dispatches after a fork adds its own job, and none of its parent's."""
    fleet = make_fleet(mock, partitions=1)
    program = tmp_path / "fork.py"
    program.write_text(FORK)
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=fleet.project.folder,
        env=fleet.project.environment,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert fleet.worker(*EMPTY).wait(60) == 0

    assert Counter(fleet.numbers("end")) == Counter([1, 2, 3])


FORK = """
import os, sys
sys.path.insert(0, os.getcwd())
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch
dispatch(Probe(n=1))
child = os.fork()
if child == 0:
    dispatch(Probe(n=2))
    os._exit(0)
_, status = os.waitpid(child, 0)
dispatch(Probe(n=3))
sys.exit(os.waitstatus_to_exitcode(status))
"""
