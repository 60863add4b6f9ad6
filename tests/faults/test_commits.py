"""Commits that brokers refuse, answer late, or never: fault tests 13 and 20."""

import signal
import time

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, TWO, Fleet, seed
from tests.faults.mock import FETCH, HEARTBEAT, OFFSET_COMMIT, OFFSET_FETCH, Mock
from tests.harness import stop, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

# Coordinator loading, not coordinator, illegal generation, unknown member, rebalance, timed out, a broken connection.
CODES = (14, 16, 22, 25, 27, 7, -195)


@pytest.mark.parametrize("pool", TWO)
def test_commit_errors_in_any_order_end_no_polling(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: whatever commits are answered with, all is committed at the end, and nothing before it was done."""
    chance = seed()
    fleet = make_fleet(mock, pool=pool, partitions=2)
    fleet.publish(*({"n": n, "sleep": 0.01} for n in range(800)))
    worker = fleet.worker()
    wait_for(lambda: fleet.events("end"))

    since = time.time()
    for _ in range(6 if LONG else 2):
        mock.refuse(OFFSET_COMMIT, *chance.sample(CODES, len(CODES)))
        goal = len(fleet.events("end")) + 50
        wait_for(lambda goal=goal: len(fleet.events("end")) >= min(goal, 800), seconds=60)  # type: ignore[misc]
    fleet.away.append((since, time.time() + 15))
    fleet.wait_until_done(set(range(800)))
    fleet.wait_until_committed(seconds=60)

    assert worker.poll() is None, fleet.project.log()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0, fleet.project.log()
    fleet.check()


def test_a_commit_that_a_rebalance_refuses_is_sent_again_soon(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: what is finished is told half a second after a refusal, not a whole interval later."""
    fleet = make_fleet(mock, partitions=1)
    fleet.publish(*({"n": n, "sleep": 0.01} for n in range(600)))
    worker = fleet.worker()
    wait_for(lambda: len(fleet.seen()) > 3)
    mock.refuse(OFFSET_COMMIT, 27)
    wait_for(lambda: "commit refused" in fleet.project.log())
    refused = time.time()

    wait_for(lambda: fleet.seen()[-1][0] > refused)
    took = fleet.seen()[-1][0] - refused

    print(f"told {took:.2f} s after the refusal")  # noqa: T201
    assert took < 0.6
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0
    fleet.check()


def test_metadata_that_are_refused_leave_the_offsets(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: OFFSET_METADATA_TOO_LARGE costs the metadata, never the offsets."""
    fleet = make_fleet(mock, partitions=1)
    fleet.publish(*({"n": n, "sleep": 0.01} for n in range(300)))
    worker = fleet.worker()
    wait_for(lambda: fleet.events("end"))
    mock.refuse(OFFSET_COMMIT, 12)

    fleet.wait_until_done(set(range(300)))
    fleet.wait_until_committed()

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0
    assert "metadata refused" in fleet.project.log()


def test_other_requests_that_fail_hold_nothing_up(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: errors of fetching, of heartbeats and of reading offsets are waited out."""
    chance = seed()
    fleet = make_fleet(mock, partitions=2)
    mock.refuse(OFFSET_FETCH, 14, 16, -195)
    fleet.publish(*({"n": n, "sleep": 0.01} for n in range(500)))
    worker = fleet.worker()
    wait_for(lambda: fleet.events("end"), seconds=60)
    for _ in range(3):
        mock.refuse(FETCH, *chance.sample((3, 6, 7, -195), 4))
        mock.refuse(HEARTBEAT, *chance.sample((14, 16, 27, -195), 4))
        goal = len(fleet.events("end")) + 60
        wait_for(lambda goal=goal: len(fleet.events("end")) >= goal, seconds=60)  # type: ignore[misc]
    fleet.wait_until_done(set(range(500)))
    fleet.wait_until_committed()

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0
    fleet.check()


@pytest.mark.parametrize("pool", ["thread", "async"] if LONG else ["thread"])
def test_random_order_never_commits_what_is_not_done(mock: Mock, make_fleet: MakeFleet, pool: str) -> None:
    """Invariant: each commit is at most the lowest unfinished offset; the metadata keep their bound; no stall."""
    chance = seed()
    jobs = 6000 if LONG else 3000
    fleet = make_fleet(mock, pool=pool, partitions=1)
    fleet.project.configure(ordering="none")
    # A few block the prefix for long, so that much is finished beyond it.
    fleet.publish(
        *({"n": n, "sleep": 6 if n % (jobs // 4) == 0 else chance.choice((0, 0, 0.005, 0.02))} for n in range(jobs))
    )
    took = _work(fleet, jobs, "--concurrency=64")

    verdict = fleet.check()
    longest = _longest(fleet)
    print(f"{jobs} jobs in {took:.1f} s; the longest metadata have {longest} characters")  # noqa: T201
    assert verdict.known_beyond_prefix > 100
    assert verdict.starts == jobs


def test_many_jobs_that_wait_fill_the_metadata_and_stall_nothing(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: retries of so many keys that the metadata are full: the bound holds, none is lost, all is done."""
    jobs = 1200
    fleet = make_fleet(mock, pool="thread", partitions=1)
    fleet.publish(*({"n": n, "fail_until": n % 2} for n in range(jobs)), maxTries=3)
    took = _work(fleet, jobs, "--backoff=3")

    longest = _longest(fleet)
    print(f"{jobs} jobs in {took:.1f} s; the longest metadata have {longest} characters")  # noqa: T201
    assert longest > 1500
    fleet.check()


def test_a_partition_whose_metadata_are_full_takes_no_new_work_until_there_is_room(
    mock: Mock, make_fleet: MakeFleet
) -> None:
    """Invariant: where no further offset has room the bound holds, nothing new begins, and all is done once."""
    jobs = 6000
    fleet = make_fleet(mock, pool="async", partitions=1)
    fleet.project.configure(ordering="none")
    fleet.publish(*({"n": n, "sleep": 8 * (n % 2)} for n in range(jobs)))
    _work(fleet, jobs, "--concurrency=4000")

    verdict = fleet.check()
    longest = _longest(fleet)
    began = [line["at"] for line in fleet.events("start")]
    print(f"{jobs} jobs in {max(began) - min(began):.1f} s; the longest metadata have {longest} characters")  # noqa: T201
    assert longest > 2700
    assert max(began) - min(began) > 7  # the last ones could not begin before the first slow ones had ended
    assert verdict.starts == jobs


def _work(fleet: Fleet, jobs: int, *options: str) -> float:
    """Have a worker do them all, commit them and leave in order; the seconds until then."""
    began = time.monotonic()
    worker = fleet.worker(*options)
    fleet.wait_until_done(set(range(jobs)), seconds=120)
    fleet.wait_until_committed()
    assert stop(worker) == 0
    return time.monotonic() - began


def _longest(fleet: Fleet) -> int:
    """Characters of the longest metadata that were committed."""
    return max(len(metadata) for *_, metadata in fleet.seen())


def test_a_coordinator_that_answers_late_slows_nothing_but_commits(mock: Mock, make_fleet: MakeFleet) -> None:
    """Invariant: with 300 ms for each answer jobs run on, and all is committed."""
    fleet = make_fleet(mock, partitions=2)
    fleet.publish(*({"n": n} for n in range(2000)))
    worker = fleet.worker()
    wait_for(lambda: fleet.events("end"))
    mock("rtt", 1, 300)
    fleet.wait_until_done(set(range(2000)))
    fleet.wait_until_committed()
    mock("rtt", 1, 0)

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0
    fleet.check()
