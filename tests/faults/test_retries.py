"""`queue:retry` beside workers that fail the same jobs again: fault test 21."""

import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.faults.conftest import MakeFleet
from tests.faults.fleet import LONG, Fleet
from tests.harness import Broker, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.kafka]

JOBS, ROUNDS = (2000, 10) if LONG else (200, 3)
WORKERS = 4
PLACES = ("table", "topic", "both")


@pytest.mark.parametrize("place", PLACES if LONG else ("table", "topic"))
def test_failed_jobs_that_fail_again_while_all_are_retried_are_all_kept(
    kafka: Broker, make_fleet: MakeFleet, place: str
) -> None:
    """Invariant: each retry takes each job once, and each that fails again is a failed job, once."""
    fleet = _fleet(kafka, make_fleet, place)
    workers = [fleet.worker("--tries=1") for _ in range(WORKERS)]
    _publish(fleet, range(JOBS))
    _wait_until_failed(fleet, JOBS)
    fleet.wait_until_committed()

    took = []
    for count in range(1, ROUNDS + 1):
        began = time.monotonic()
        fleet.project.artisan("queue:retry", "all", timeout=300)
        took.append(time.monotonic() - began)
        _wait_until_failed(fleet, (count + 1) * JOBS)
        fleet.wait_until_committed()
    _stop(workers)

    pushed = _pushed_by_retry(fleet)
    told = f"{JOBS} jobs, {ROUNDS} retries beside {WORKERS} workers: {len(pushed)} kept"
    print(f"[{place}] {told}; a retry took {min(took):.1f} to {max(took):.1f} s")  # noqa: T201
    assert Counter(pushed) == Counter(range(JOBS))
    assert _failed(fleet) == []
    fleet.check(acknowledged=[*range(JOBS)])


@pytest.mark.parametrize("place", PLACES if LONG else ("both",))
def test_a_retry_that_is_killed_repeats_jobs_and_loses_none(kafka: Broker, make_fleet: MakeFleet, place: str) -> None:
    """Invariant: kill -9 of `queue:retry` between its pushes and the deletion of their records loses nothing."""
    fleet = _fleet(kafka, make_fleet, place)
    worker = fleet.worker("--tries=1")
    _publish(fleet, range(JOBS))
    _wait_until_failed(fleet, JOBS)
    fleet.wait_until_committed()

    for count in range(1, ROUNDS + 1):
        before = len(fleet.events("start"))
        retry = subprocess.Popen(
            [sys.executable, "artisan.py", "queue:retry", "all", "-q"],
            cwd=fleet.project.folder,
            env=fleet.project.environment,
            stdin=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: len(fleet.events("start")) >= before + 10 * count, what="the first of the jobs")  # noqa: B023
        finally:
            retry.kill()
            retry.wait(10)
        fleet.wait_until_committed(seconds=120)
    _stop([worker])

    pushed = _pushed_by_retry(fleet)
    print(f"[{place}] {JOBS} jobs, {ROUNDS} retries that were killed: {len(pushed)} kept")  # noqa: T201
    assert set(pushed) == set(range(JOBS))


def _fleet(kafka: Broker, make_fleet: MakeFleet, place: str) -> Fleet:
    fleet = make_fleet(kafka)
    if place != "table":
        fleet.project.configure(dead_letter_topic=kafka.topic("letters"))
    if place == "topic":
        fleet.project.environment["QUEUE_FAILED_DRIVER"] = "null"
    return fleet


def _publish(fleet: Fleet, numbers: Iterable[int]) -> None:
    """Jobs that always fail: most with a uuid of their own, some with none, with another's, or without a key."""
    messages: list[tuple[bytes | None, bytes | None]] = []
    for n in numbers:
        envelope = {"uuid": str(uuid.UUID(int=n - n % 5 if n % 5 == 1 else n)), "job": "probe", "attempts": 0}
        if n % 5 == 2:
            del envelope["uuid"]
        data = {"n": n, "fail_until": 1_000_000}
        key = None if n % 5 == 3 else f"{n}".encode()
        messages.append((key, json.dumps({**envelope, "maxTries": 1, "data": data}).encode()))
    fleet.broker.publish(fleet.topic, messages)


def _wait_until_failed(fleet: Fleet, count: int) -> None:
    """Wait until so many failures are recorded."""
    ledger, told = fleet.project.ledger, b'"event": "failed"'
    wait_for(
        lambda: ledger.exists() and ledger.read_bytes().count(told) >= count, seconds=120, what=f"{count} failures"
    )


def _stop(workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert {worker.wait(40) for worker in workers} == {0}


def _pushed_by_retry(fleet: Fleet) -> list[int]:
    """The numbers of the jobs that are kept, as a retry of all puts them back."""
    before = fleet.broker.ends(fleet.topic)
    fleet.project.artisan("queue:retry", "all", timeout=300)
    messages = fleet.broker.messages(fleet.topic)
    new = [message for message in messages if (message.offset() or 0) >= before.get(message.partition() or 0, 0)]
    return [json.loads(message.value() or b"")["data"]["n"] for message in new]


def _failed(fleet: Fleet) -> list[object]:
    found: list[object] = json.loads(fleet.project.artisan("queue:failed", "--json").stdout)["failed_jobs"]
    return found
