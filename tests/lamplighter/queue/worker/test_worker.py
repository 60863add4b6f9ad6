"""The loop: pop, run, settle, exactly once."""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from lamplighter.contracts import Delivery
from lamplighter.errors import (
    BrokerUnavailable,
    LamplighterError,
    MessageTooLarge,
    OrderBlocked,
    QueueError,
    UnsupportedDelay,
)
from lamplighter.logging.context import job_fields
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing, JobReleased, WorkerStarting, WorkerStopping
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.trace import format_trace
from lamplighter.queue.guard.control import NEVER, StopReason
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.runner import pushes_ahead
from tests.harness import wait_for
from tests.lamplighter.queue.conftest import POOLS, Bench

told: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


class Fine(Job):
    """Comes to its end."""

    name = "fine"

    def handle(self) -> None:
        """Tell that it ran."""
        told.append("fine")


@dataclass(frozen=True)
class Raises(Job):
    """Raises what its data say, so often."""

    name = "raises"

    kind: str = "RuntimeError"
    times: int = 99

    def handle(self, delivery: Delivery) -> None:
        """Raise, or not."""
        told.append(delivery.attempts)
        if len(told) <= self.times:
            errors = {
                "RuntimeError": RuntimeError("boom"),
                "lost": ConnectionResetError("gone"),
                "deadlock": BlockingIOError("locked"),
                "away": BrokerUnavailable("no broker"),
                "speechless": Speechless(),
            }
            raise errors[self.kind]

    def failed(self, error: BaseException, delivery: Delivery) -> None:
        """Tell that it failed."""
        told.append(f"failed {type(error).__name__} {delivery.id}")


class Deadly(Job):
    """Its worker may die while it is made of its data."""

    name = "deadly"

    @classmethod
    def from_data(cls, data: object) -> "Deadly":
        """Tell that somebody has come so far."""
        told.append("read")
        return cls()

    def handle(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Wishes(Job):
    """Settles itself."""

    name = "wishes"

    wish: str

    def handle(self, delivery: Delivery) -> None:
        """Ask, then perhaps raise."""
        told.append(self.wish)
        if self.wish == "delete":
            delivery.delete()
            raise RuntimeError("after the end")
        if self.wish == "release" and delivery.attempts == 1:
            delivery.release(7)
        if self.wish == "fail":
            delivery.fail()
            delivery.delete()
        if self.wish == "release at some time":
            delivery.release("soon")  # type: ignore[arg-type]
        if self.wish == "fail with a text":
            delivery.fail("no")  # type: ignore[arg-type]


class Speechless(Exception):
    """Can't say what it is about."""

    def __str__(self) -> str:
        """Fail at it."""
        raise AttributeError("about what?")


def test_a_job_that_returns_is_deleted(bench: Bench) -> None:
    delivery = bench.queue.add("fine")

    status = bench.worker(Fine).work()

    assert (status, told, delivery.settled) == (0, ["fine"], [("delete",)])


def test_a_job_that_raises_is_tried_with_backoff_then_failed(bench: Bench) -> None:
    delivery = bench.queue.add("raises")

    bench.worker(Raises, defaults=Policy(tries=3, backoff=(1.0, 5.0), timeout=60)).work()

    assert told == [1, 2, 3, "failed RuntimeError key"]
    assert delivery.settled == [("release", 1.0, True), ("release", 5.0, True), ("fail", "RuntimeError")]
    assert [record.payload for record in bench.failed_jobs.records] == [delivery.payload]


@pytest.mark.parametrize(
    ("envelope", "starts"), [({"maxTries": 2}, 2), ({"maxTries": None}, 1), ({"maxTries": 3, "attempts": 1}, 2)]
)
def test_the_payloads_own_policy_wins_unless_it_is_null(bench: Bench, envelope: dict[str, Any], starts: int) -> None:
    bench.queue.add("raises", **envelope)

    bench.worker(Raises).work()

    assert len([entry for entry in told if isinstance(entry, int)]) == starts


def test_a_job_whose_attempts_are_used_up_is_failed_without_being_run(bench: Bench) -> None:
    delivery = bench.queue.add("raises", attempts=1)

    bench.worker(Raises).work()

    assert told == ["failed MaxAttemptsExceeded key"]
    assert delivery.settled == [("fail", "MaxAttemptsExceeded")]


@pytest.mark.parametrize("kind", ["lost", "away"])
def test_a_service_that_is_away_counts_no_attempt_however_long(bench: Bench, kind: str) -> None:
    delivery = bench.queue.add("raises", {"kind": kind, "times": 20})

    bench.worker(Raises).work()

    assert told == [1] * 21
    assert {entry[-1] for entry in delivery.settled[:-1]} == {False}
    assert delivery.settled[-1] == ("delete",)


@pytest.mark.parametrize("kind", ["lost", "away"])
def test_a_service_that_is_away_is_one_line_without_a_trace(
    bench: Bench, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    for key in (b"a", b"b"):
        bench.queue.add("raises", {"kind": kind, "times": 20}, key=key)

    bench.worker(Raises).work()

    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.message == "a service is away; jobs that need it wait, and are not charged"
    assert record.exc_info is None
    assert len(told) == 22


def test_deadlocks_are_excused_a_few_times_only(bench: Bench) -> None:
    delivery = bench.queue.add("raises", {"kind": "deadlock"})

    bench.worker(Raises).work()

    assert delivery.settled == [("release", 2.0, False)] * 5 + [("fail", "BlockingIOError")]


@pytest.mark.parametrize(
    ("wish", "settled"),
    [
        ("delete", [("delete",)]),
        ("release", [("release", 7, True), ("delete",)]),
        ("fail", [("fail", "ManuallyFailed")]),
        ("release at some time", [("release", 0.0, True)] * 4 + [("fail", "ValueError")]),
        ("fail with a text", [("release", 0.0, True)] * 4 + [("fail", "TypeError")]),
    ],
)
def test_a_handler_may_settle_its_delivery_once(bench: Bench, wish: str, settled: list[Any]) -> None:
    delivery = bench.queue.add("wishes", {"wish": wish}, maxTries=5)

    bench.worker(Wishes).work()

    assert delivery.settled == settled


@dataclass(frozen=True)
class Leaves(Job):
    """Leaves its delivery to somebody who goes on when it has ended."""

    name = "leaves"

    how: str = ""

    def handle(self, delivery: Delivery) -> None:
        """Return, or raise."""
        told.append(delivery)
        if self.how == "raise":
            raise RuntimeError("boom")
        if self.how == "release" and delivery.attempts == 1:
            delivery.release()


LATE: dict[str, Callable[[Any], object]] = {
    "delete": lambda delivery: delivery.delete(),
    "release": lambda delivery: delivery.release(5),
    "fail": lambda delivery: delivery.fail(),
}


@pytest.mark.parametrize("make", POOLS)
@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("how", ["", "raise", "release"])
def test_whoever_asks_for_something_when_the_job_has_ended_is_told_so(
    bench: Bench, make: Callable[..., Worker], how: str, late: str
) -> None:
    delivery = bench.queue.add("leaves", {"how": how})
    bench.work(bench.worker(Leaves, make=make))
    settled = list(delivery.settled)

    with pytest.raises(QueueError, match=rf"The job at {re.escape(delivery.position)} has ended"):
        LATE[late](told[0])

    assert delivery.settled == settled


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "UnreadablePayload"),
        (b"garbage", "UnreadablePayload"),
        (b'{"job":"nobody"}', "UnknownJob"),
        (b'{"job":"wishes","data":{"wish":5}}', "InvalidData"),
        (b'{"job":"fine","backoff":"soon"}', "UnreadablePayload"),
        (b'{"job":"fine","backoff":"1e999"}', "UnreadablePayload"),
        (b'{"job":"fine","maxTries":-5}', "UnreadablePayload"),
        (b'{"job":"Illuminate\\\\Queue\\\\CallQueuedHandler@call","data":{}}', "UnknownJob"),
    ],
)
def test_what_can_not_become_a_job_is_failed_at_once_and_kept(bench: Bench, payload: bytes, why: str) -> None:
    delivery = bench.queue.add_raw(payload)
    after = bench.queue.add("fine")

    bench.worker(Fine, Wishes, defaults=Policy(tries=5, backoff=(), timeout=60)).work()

    assert delivery.settled == [("fail", why)]
    assert bench.failed_jobs.records[0].payload == payload
    assert after.settled == [("delete",)]


def test_a_negative_number_of_a_payload_is_recorded_with_its_jobs_name_and_uuid(bench: Bench) -> None:
    bench.queue.add("fine", maxTries=-5, uuid="u-1")

    bench.worker(Fine).work()

    [record] = bench.failed_jobs.records
    assert (told, record.uuid, str(record.error)) == (
        [],
        "u-1",
        "The payload has -5 for maxTries, which is 0 (no end) or more.",
    )


@pytest.mark.parametrize("backoff", [-3, "-3,5"])
def test_a_negative_backoff_of_a_payload_is_no_wait(bench: Bench, backoff: object) -> None:
    delivery = bench.queue.add("raises", maxTries=2, backoff=backoff)

    bench.worker(Raises).work()

    assert delivery.settled[0] == ("release", 0.0, True)


def test_a_job_whose_backoff_no_queue_holds_fails_with_its_own_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = bench.queue.add("raises", maxTries=5, backoff=3_000_000)

    bench.worker(Raises).work()

    assert (told, delivery.settled) == ([1, "failed RuntimeError key"], [("fail", "RuntimeError")])
    assert "longer than any job is held back" in caplog.text


def test_a_failure_that_can_not_be_recorded_is_held_and_recorded_later_without_another_run(bench: Bench) -> None:
    delivery = bench.queue.add("raises")
    bench.failed_jobs.refusals = 3

    bench.worker(Raises).work()

    assert told == [1, "failed RuntimeError key"]
    assert [entry[0] for entry in delivery.settled] == ["release", "release", "release", "fail"]
    assert [entry[2] for entry in delivery.settled[:3]] == [True, False, False]
    assert len(bench.failed_jobs.records) == 1


@pytest.mark.parametrize("make", POOLS)
def test_a_job_that_only_waits_for_its_record_is_no_further_job(bench: Bench, make: Callable[..., Worker]) -> None:
    bench.queue.add("raises")
    after = [bench.queue.add("fine") for _ in range(3)]
    bench.failed_jobs.refusals = 9
    worker = bench.worker(Raises, Fine, make=make, concurrency=1, max_jobs=4)

    bench.work(worker)

    assert [delivery.settled[-1] for delivery in after] == [("delete",)] * 3
    assert worker.jobs.processed == 4


def test_a_store_that_refuses_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for key in (b"a", b"b"):
        bench.queue.add("raises", key=key)
    bench.failed_jobs.refusals = 9

    bench.worker(Raises).work()

    refused = [record for record in caplog.records if "can't be recorded" in record.message]
    assert [record.levelno for record in refused if record.levelno > logging.DEBUG] == [logging.ERROR]
    assert len(bench.failed_jobs.records) == 2


@pytest.mark.parametrize("failure", [OrderBlocked, UnsupportedDelay, MessageTooLarge])
def test_a_job_that_can_not_be_put_back_is_recorded_with_its_own_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failure: type[LamplighterError]
) -> None:
    delivery = bench.queue.add("raises", maxTries=5)
    release = delivery.release

    def block(delay: float, *, counted: bool = True) -> None:
        delivery.failure = failure("too long")
        release(delay, counted=counted)

    monkeypatch.setattr(delivery, "release", block)
    bench.worker(Raises).work()

    [record] = bench.failed_jobs.records
    assert isinstance(record.error, failure)
    assert "RuntimeError: boom" in format_trace(record.error)
    assert told == [1, f"failed {failure.__name__} key"]


def test_failed_is_told_of_the_start_that_failed_however_late_it_is_recorded(bench: Bench) -> None:
    seen: list[int] = []

    class Late(Job):
        """Fails, and tells at which start."""

        name = "late"

        def handle(self) -> None:
            raise RuntimeError("boom")

        def failed(self, error: BaseException, delivery: Delivery) -> None:
            seen.append(delivery.attempts)

    bench.queue.add("late", maxTries=2)
    bench.failed_jobs.refusals = 2

    bench.worker(Late).work()

    assert seen == [2]


def test_a_failed_that_kills_its_worker_is_given_up(bench: Bench) -> None:
    for retries in (3, 4, 5):  # three starts, then two workers that have died in failed()
        delivery = bench.queue.add("raises", maxTries=3)
        delivery.has_crashed, delivery.retries = True, retries

    bench.worker(Raises).work()

    assert told == ["failed MaxAttemptsExceeded key"] * 2
    assert [record.attempts for record in bench.failed_jobs.records] == [3, 4, 5]
    assert delivery.settled == [("fail", "MaxAttemptsExceeded")]


@pytest.mark.parametrize(
    ("retries", "how"),
    [(1, "at least once without coming to an end"), (3, "at least 3 times without coming to an end")],
)
def test_the_record_of_a_job_that_killed_its_worker_says_so(bench: Bench, retries: int, how: str) -> None:
    delivery = bench.queue.add("raises", maxTries=retries)
    delivery.has_crashed, delivery.retries = True, retries

    bench.worker(Raises).work()

    assert f"started {how}, and its worker died under it" in str(bench.failed_jobs.records[0].error)


@pytest.mark.parametrize(
    ("payload", "retries", "may"),
    [
        ({}, 0, True),  # nobody says how many tries: a crash is forgiven once
        ({}, 1, False),
        ({"maxTries": 1}, 0, False),
        ({"maxTries": 3}, 0, True),
        ({"maxTries": 3}, 2, False),
        ({"maxTries": 3, "attempts": 2}, 0, False),
        ({"maxTries": 0}, 99, True),
        ({"job": "unknown"}, 0, False),
        ({"maxTries": "many"}, 0, False),
    ],
)
def test_a_job_may_be_started_after_a_start_that_its_worker_dies_of(
    bench: Bench, payload: dict[str, Any], retries: int, may: bool
) -> None:
    worker = bench.worker(Raises)
    delivery = bench.queue.add(**{"job": "raises", **payload})
    delivery.retries = retries

    assert worker.has_further_start(delivery) is may


def test_data_that_kill_their_worker_before_the_job_begins_are_given_up(bench: Bench) -> None:
    for retries in (4, 5):  # three starts, then one or two workers that have died of reading it once more
        delivery = bench.queue.add("deadly", maxTries=3)
        delivery.has_crashed, delivery.retries = True, retries

    bench.worker(Deadly).work()

    assert told == ["read"]
    assert [record.attempts for record in bench.failed_jobs.records] == [4, 5]
    assert delivery.settled == [("fail", "MaxAttemptsExceeded")]


def test_events_tell_the_life_of_a_job_in_order(bench: Bench) -> None:
    heard: list[str] = []
    for kind in (WorkerStarting, JobProcessing, JobProcessed, JobReleased, JobFailed, WorkerStopping):
        bench.events.listen(kind, lambda event: heard.append(type(event).__name__))
    bench.queue.add("raises", maxTries=2)
    bench.queue.add("fine")

    bench.worker(Raises, Fine).work()

    assert heard == [
        "WorkerStarting",
        "JobProcessing",
        "JobReleased",
        "JobProcessing",
        "JobFailed",
        "JobProcessing",
        "JobProcessed",
        "WorkerStopping",
    ]


def test_once_runs_one_job_and_tells_a_failure(bench: Bench) -> None:
    bench.queue.add("raises")
    second = bench.queue.add("fine")

    status = bench.worker(Raises, Fine, once=True).work()

    assert (status, second.settled) == (1, [])


def test_max_jobs_counts_failures_too(bench: Bench) -> None:
    for job in ("raises", "fine", "fine"):
        bench.queue.add(job)

    status = bench.worker(Raises, Fine, max_jobs=2, stop_when_empty=False).work()

    assert (status, len(bench.queue.line)) == (0, 1)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({StopReason.MEMORY, StopReason.RESTART_SIGNAL}, 12),
        ({StopReason.INTERRUPTED, StopReason.MEMORY}, 0),
        ({StopReason.RESTART_SIGNAL}, 0),
    ],
)
def test_the_first_reason_to_stop_is_the_one(bench: Bench, asked: set[StopReason], status: int) -> None:
    delivery = bench.queue.add("fine")
    worker = bench.worker(Fine, stop_when_empty=False)
    for reason in asked:
        worker.control.ask_to_stop(reason)

    assert worker.work() == status
    assert delivery.settled == [("delete",)]


def test_an_application_that_is_down_runs_nothing_unless_forced(bench: Bench) -> None:
    bench.maintenance.down = True
    bench.queue.add("fine")
    waiting, forced = bench.worker(Fine, sleep=0.01), bench.worker(Fine, force=True)
    for worker in (waiting, forced):
        worker.look_for_maintenance()

    statuses = (waiting.work(), list(told), forced.work(), list(told))

    assert statuses == (0, [], 0, ["fine"])


@pytest.mark.parametrize(
    "options", [{"stop_when_empty": True}, {"stop_when_empty_for": 0.01, "stop_when_empty": False}]
)
def test_a_worker_in_maintenance_mode_does_not_call_its_queue_empty(bench: Bench, options: dict[str, Any]) -> None:
    reasons: list[str] = []
    bench.events.listen(WorkerStopping, lambda event: reasons.append(event.reason))
    bench.maintenance.down = True
    bench.queue.add("fine")
    worker = bench.worker(Fine, sleep=0.01, **options)
    worker.look_for_maintenance()

    worker.work()

    assert (reasons, told) == (["maintenance"], [])


@pytest.mark.parametrize("make", POOLS)
def test_a_paused_worker_says_so_and_does_not_end_for_an_empty_queue(
    bench: Bench, caplog: pytest.LogCaptureFixture, make: Callable[..., Worker]
) -> None:
    caplog.set_level("INFO")
    delivery = bench.queue.add("fine")
    worker = bench.worker(Fine, make=make, sleep=0.01)
    worker.control.pause()
    loop = threading.Thread(target=bench.work, args=(worker,), daemon=True)
    loop.start()
    wait_for(lambda: "worker paused by USR2" in caplog.text)

    is_alive, settled = loop.is_alive(), list(delivery.settled)
    worker.control.resume()
    loop.join(5)

    assert (is_alive, settled, delivery.settled[-1]) == (True, [], ("delete",))
    assert caplog.text.count("worker paused") == caplog.text.count("worker takes jobs again") == 1


def test_the_end_of_a_worker_is_not_told_as_its_last_jobs(bench: Bench) -> None:
    fields: list[dict[str, object]] = []
    bench.events.listen(WorkerStopping, lambda event: fields.append(job_fields()))
    bench.queue.add("fine")

    bench.worker(Fine, max_jobs=1).work()

    assert fields == [{}]


@pytest.mark.parametrize("timeout", [-1, 0, 1e10, 1e300])
def test_any_timeout_of_a_payload_is_kept(bench: Bench, timeout: float) -> None:
    delivery = bench.queue.add("fine", timeout=timeout)

    bench.worker(Fine).work()

    assert delivery.settled == [("delete",)]


def test_an_error_that_can_not_be_told_is_recorded_all_the_same(bench: Bench) -> None:
    delivery = bench.queue.add("raises", {"kind": "speechless"})

    bench.worker(Raises, max_jobs=3).work()

    assert delivery.settled == [("fail", "Speechless")]


@pytest.mark.parametrize("event", [JobProcessed, JobReleased, JobFailed])
def test_a_listener_that_raises_changes_nothing_of_what_is_done(bench: Bench, event: type[Any]) -> None:
    def raises(event: object) -> None:
        raise RuntimeError("a listener")

    bench.events.listen(event, raises)
    first, second = bench.queue.add("raises", maxTries=2), bench.queue.add("fine")

    bench.worker(Raises, Fine).work()

    assert first.settled == [("release", 0.0, True), ("fail", "RuntimeError")]
    assert second.settled == [("delete",)]


def test_a_listener_that_raises_before_a_job_counts_as_its_job(bench: Bench) -> None:
    def raises(event: object) -> None:
        raise KeyError("a listener")

    bench.events.listen(JobProcessing, raises)
    delivery = bench.queue.add("fine", maxTries=2)

    bench.worker(Fine).work()

    assert delivery.settled == [("release", 0.0, True), ("fail", "KeyError")]
    assert told == []


@pytest.mark.parametrize(
    ("timeout", "after", "is_overdue"),
    [(1, 35, False), (1, 45, True), (60, 50, False), (60, 70, True), (0, 999, False)],
)
def test_the_end_of_a_failed_job_has_a_deadline_too(
    bench: Bench, timeout: float, after: float, is_overdue: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = bench.worker(Raises)
    overdue: list[bool] = []

    def looks(failure: Failure) -> str:
        start = worker.hand.take_overdue(time.monotonic() + after)
        overdue.append(start is not None)
        if start is not None:
            worker.hand.put(start, NEVER)
        return "u-1"

    monkeypatch.setattr(bench.failed_jobs, "record", looks)
    bench.queue.add("raises", timeout=timeout)

    worker.work()

    assert (overdue, worker.hand.is_empty()) == ([is_overdue], True)


def test_a_second_word_of_the_same_signal_does_not_lengthen_the_grace(bench: Bench) -> None:
    worker = bench.worker(Fine, grace=5)
    worker.control.ask_to_stop(StopReason.INTERRUPTED)
    limit = worker.control.limit

    worker.control.ask_to_stop(StopReason.INTERRUPTED)

    assert worker.control.limit == limit


class Pushes(Job):
    """Pushes something that is acknowledged at once."""

    name = "pushes"

    def handle(self) -> None:
        """Push."""
        pushes = pushes_ahead()
        assert pushes is not None
        pushes.expect()
        pushes.report(None)


def test_acknowledged_pushes_leave_nothing_that_wakes_an_idle_worker(bench: Bench) -> None:
    deliveries = [bench.queue.add("pushes") for _ in range(20)]
    worker = bench.worker(Pushes)

    worker.work()

    assert [delivery.settled[-1] for delivery in deliveries] == [("delete",)] * 20
    assert worker.control.bell.empty()
