"""Claims on payloads that are put aside."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from lamplighter.contracts import Delivery, DriverDelivery
from lamplighter.errors import AlreadyDone, JobTimedOut, Unavailable
from lamplighter.queue.claims.claims import Reference, envelope_of, reference_in
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import CLAIM_JOB, write
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import POOLS, Bench


class Unwanted(Job):
    """Must not run."""

    name = "unwanted"

    def handle(self) -> None:
        """Fail the test's way."""
        raise AssertionError("it ran")


def already_done(delivery: DriverDelivery) -> bytes:
    """Say of every claim that its job is done."""
    raise AlreadyDone("done before")


def test_a_reference_survives_its_header() -> None:
    reference = Reference("0" * 32, "1" * 64, 1)

    assert reference_in([("x-claim", b"junk"), ("x-claim", str(reference).encode()), ("other", None)]) == reference


@pytest.mark.parametrize(
    "value",
    [
        b"",
        None,
        b"file:../../etc/passwd:" + b"0" * 64 + b":1",
        b"file:" + b"0" * 32 + b":" + b"0" * 64 + b":-1",
        b"\xff",
    ],
)
def test_a_header_can_name_no_file_but_a_claim(value: bytes | None) -> None:
    assert reference_in([("x-claim", value)]) is None


def test_no_header_is_no_claim() -> None:
    assert reference_in([("trace", b"1")]) is None


def test_the_small_payload_says_all_but_the_job_and_its_data() -> None:
    payload = write("probe", {"text": "x" * 1000}, id="i-1", max_tries=3, backoff="1,5", timeout=7)

    small = json.loads(envelope_of(payload))

    whole = json.loads(payload)
    assert (small.pop("job"), small.pop("data")) == (CLAIM_JOB, None)
    assert small == {key: value for key, value in whole.items() if key not in ("job", "data")}


def test_a_store_that_is_away_is_told_without_an_unknown_job(bench: Bench) -> None:
    def read_claim(delivery: DriverDelivery) -> bytes:
        raise Unavailable("not mounted")

    runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=0), read_claim=read_claim)

    with pytest.raises(Unavailable, match="not mounted") as told:
        runner.read(runner.start(bench.queue.add(CLAIM_JOB)))

    assert told.value.__context__ is None


@pytest.mark.parametrize("make", POOLS)
def test_a_record_of_a_job_that_is_done_is_passed_over(
    bench: Bench, make: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    for event in (JobProcessing, JobProcessed, JobFailed):
        bench.events.listen(event, told.append)
    delivery = bench.queue.add(CLAIM_JOB, displayName="unwanted")
    worker = bench.worker(Unwanted, make=make, read_claim=already_done)

    with caplog.at_level(logging.INFO):
        bench.work(worker)

    assert delivery.settled == [("delete",)]
    assert (bench.failed_jobs.records, told) == ([], [])
    [record] = [record for record in caplog.records if "passed over" in record.getMessage()]
    assert (record.__dict__["job"], record.__dict__["position"]) == ("unwanted", "jobs[0]@0")


def test_a_failure_that_waits_for_its_record_is_passed_over_when_the_job_is_done_elsewhere(bench: Bench) -> None:
    delivery = bench.queue.add(CLAIM_JOB)
    delivery.failure = JobTimedOut("too slow here")

    bench.work(bench.worker(Unwanted, read_claim=already_done))

    assert delivery.settled == [("delete",)]
    assert bench.failed_jobs.records == []


def test_a_job_that_is_out_of_its_tries_is_passed_over_when_it_is_done(bench: Bench) -> None:
    delivery = bench.queue.add(CLAIM_JOB)
    delivery.retries, delivery.has_crashed = 5, True  # its worker died between its end and the commit

    bench.work(bench.worker(Unwanted, read_claim=already_done))

    assert delivery.settled == [("delete",)]
    assert bench.failed_jobs.records == []


@pytest.mark.parametrize("make", POOLS)
def test_the_hook_of_a_failed_job_has_the_payload_that_its_handler_had(
    bench: Bench, make: Callable[..., Worker]
) -> None:
    seen: list[bytes] = []

    class Failing(Job):
        name = "failing"

        def handle(self, delivery: Delivery) -> None:
            seen.append(delivery.payload)
            raise ValueError("boom")

        def failed(self, error: BaseException, delivery: Delivery) -> None:
            seen.append(delivery.payload)

    whole = write("failing", {}, id="i-1")
    bench.queue.add(CLAIM_JOB)

    bench.work(bench.worker(Failing, make=make, read_claim=lambda delivery: whole))

    assert seen == [whole, whole]
