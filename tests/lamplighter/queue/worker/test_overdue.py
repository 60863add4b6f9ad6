"""The end of an overdue job. What is left of a real process is looked at in tests/kafka."""

import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from lamplighter.errors import BrokerUnavailable
from lamplighter.queue.dispatching.deferring import Deferred, Waiting
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.queue.events import JobTimedOut
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker import overdue as overdue_module
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.overdue import Overdue
from lamplighter.queue.worker.runner import Runner, Start
from tests.lamplighter.queue.conftest import Bench, ListDelivery
from tests.programs import run

KEEPS_THE_GIL = """
import re
from types import SimpleNamespace
from lamplighter.contracts import Message
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.guard import deadlines
from lamplighter.queue.guard.control import Control
from lamplighter.queue.guard.ending import Deadline
from lamplighter.queue.guard.signals import handled
from lamplighter.queue.guard.watch import Chore, Watch
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.overdue import Overdue
from lamplighter.queue.worker.runner import Start

deadlines.DEAD_MAN = 2.0
control, hand = Control(), deadlines.Hand()
failing = SimpleNamespace(error_of=lambda start: None, is_told=lambda start: False)
queue = SimpleNamespace(close=lambda timeout: time.sleep(60))
events = SimpleNamespace(listeners=lambda kind: [])
deadline = Deadline(control, hand.busy_until, 6, tell=hand.end_by)
{overdue}
deadline.start()
with handled(control) as look:
    Watch(hand, overdue, [Chore(0.1, look)], limit=deadline.settle_by).start()
    start = Start(SyncDelivery(Message(b"{{}}"), "kafka", "store"), Policy(tries=1, backoff=(), timeout=1))
    start.began = time.monotonic()
    hand.put(start, start.began + 1)
    pid = os.getpid()
    if os.fork() == 0:
        time.sleep(1.2)
        for number in (*[signal.SIGCONT] * 9, signal.SIGTERM):
            time.sleep(0.08)
            os.kill(pid, number)
        os._exit(0)
    re.match("(a+)+$", "a" * 60 + "b")  # keeps the GIL, and lets it go for the handlers of signals
"""


@dataclass(frozen=True)
class Hangs(Job):
    """Never comes back, as far as these tests go."""

    name = "hangs"

    def handle(self) -> None:
        """Not called here."""


@dataclass
class End:
    """What came of an overdue job."""

    status: int | None = None
    closed: bool = False
    had: float = field(default=0, compare=False)
    flushed: bool = False


def overdue(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    delivery: ListDelivery,
    *,
    shutdown: float = 30,
    pushes: Pushes | None = None,
    deferred: Deferred | None = None,
    **wishes: Any,
) -> End:
    """End a job that began long ago; with what its handler had asked for until then."""
    end = End()

    def exit_(status: int) -> None:
        end.status = status

    def close(*, timeout: float) -> bool:
        end.closed, end.had = True, timeout
        return True

    def flush() -> None:
        end.flushed = True

    monkeypatch.setattr(os, "_exit", exit_)
    # It would end the process of the tests when they have gone on for a while.
    monkeypatch.setattr(overdue_module, "exit_after", lambda seconds, status: None)
    monkeypatch.setattr(bench.queue, "close", close, raising=False)
    bench.registry.register(Hangs)
    runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=1))
    failing = Failing(bench.failed_jobs, runner)  # type: ignore[arg-type]
    start: Start = runner.start(delivery)
    runner.read(start)
    start.began = time.monotonic() - 5
    start.pushes = pushes
    start.deferred = deferred
    for wish, argument in wishes.items():
        getattr(start.in_hand(), wish)(*argument)
    thread = threading.get_ident()
    Overdue(bench.queue, failing, bench.events, flush, thread_of=lambda _: thread, shutdown=shutdown)(start)
    return end


def test_a_job_without_tries_left_is_failed_and_committed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = bench.queue.add("hangs")

    end = overdue(bench, monkeypatch, delivery)

    assert delivery.settled == [("fail", "JobTimedOut")]
    assert end == End(status=137, closed=True, flushed=True)


@pytest.mark.parametrize(
    ("wishes", "settled"),
    [
        ({"delete": ()}, [("delete",)]),
        ({"release": (7,)}, [("release", 7, True)]),
        ({"fail": (KeyError("asked"),)}, [("fail", "KeyError")]),
    ],
)
def test_what_its_handler_had_asked_for_holds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, wishes: dict[str, Any], settled: list[Any]
) -> None:
    delivery = bench.queue.add("hangs", maxTries=3)

    overdue(bench, monkeypatch, delivery, **wishes)

    assert delivery.settled == settled


def test_a_listener_that_raises_keeps_nothing_from_ending(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(event: object) -> None:
        raise RuntimeError("a listener")

    bench.events.listen(JobTimedOut, raises)
    delivery = bench.queue.add("hangs")

    end = overdue(bench, monkeypatch, delivery)

    assert delivery.settled == [("fail", "JobTimedOut")]
    assert end == End(status=137, closed=True, flushed=True)


@pytest.mark.parametrize(("shutdown", "had"), [(3, 3), (30, 10)])
def test_the_end_has_no_longer_than_the_shutdown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, shutdown: float, had: float
) -> None:
    assert overdue(bench, monkeypatch, bench.queue.add("hangs"), shutdown=shutdown).had == had


def test_an_end_that_fails_is_an_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = bench.queue.add("hangs")
    monkeypatch.setattr(delivery, "fail", lambda error: 1 / 0)

    end = overdue(bench, monkeypatch, delivery)

    assert end.status == 137


@pytest.mark.parametrize(("report", "last"), [(None, "delete"), (BrokerUnavailable("away"), "fail")])
def test_a_job_that_was_to_be_deleted_is_so_when_its_queue_has_what_it_has_pushed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, report: Exception | None, last: str
) -> None:
    delivery = bench.queue.add("hangs")
    pushes = Pushes()
    pushes.expect()
    monkeypatch.setattr(bench.queue, "serve", lambda wait: pushes.report(report))

    overdue(bench, monkeypatch, delivery, pushes=pushes, delete=())

    assert [one[0] for one in delivery.settled] == [last]


def test_a_job_whose_pushes_nobody_acknowledges_is_not_deleted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overdue_module, "HOOK", 0.2)
    delivery = bench.queue.add("hangs")
    pushes = Pushes()
    pushes.expect()

    overdue(bench, monkeypatch, delivery, pushes=pushes, delete=())

    assert delivery.settled == [("fail", "JobTimedOut")]


OVERDUE = """
overdue = Overdue(
    queue, failing, events, print, thread_of=lambda start: None, take_over=deadline.take_over, going_on=hand.go_on
)
"""


@pytest.mark.parametrize(
    "overdue", [OVERDUE, "overdue = lambda start: None"], ids=["the end of the process", "the loop's own thread"]
)
def test_a_signal_to_a_job_that_keeps_the_gil_moves_the_end_of_its_process_no_further(overdue: str) -> None:
    began = time.monotonic()

    with pytest.raises(AssertionError, match=r"it ended with 1\n(?s:.*)Timeout"):
        run(KEEPS_THE_GIL.format(overdue=overdue), timeout=15)

    assert time.monotonic() - began < 6


def waiting(expired: list[str], *, always: bool = False, block: threading.Event | None = None) -> Deferred:
    """One job that waits for the end of another."""

    def expire(error: BaseException) -> None:
        if block is not None:
            block.wait(20)
        expired.append(str(error))

    deferred = Deferred()
    deferred.add(Waiting("letter", lambda: None, expire, always))
    return deferred


def test_what_an_overdue_job_has_deferred_is_dropped_since_it_runs_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expired: list[str] = []
    delivery = bench.queue.add("hangs", maxTries=3)

    overdue(bench, monkeypatch, delivery, deferred=waiting(expired))

    assert expired == []
    [dropped] = [record for record in caplog.records if record.message.startswith("deferred jobs are dropped")]
    assert dropped.jobs == ["letter"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("wishes", "always"), [({"delete": ()}, False), ({}, True)])
def test_what_nobody_would_defer_again_is_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, wishes: dict[str, Any], always: bool
) -> None:
    expired: list[str] = []

    overdue(bench, monkeypatch, bench.queue.add("hangs"), deferred=waiting(expired, always=always), **wishes)

    [told] = expired
    assert "has ended before letter was begun" in told


def test_a_job_is_not_deleted_while_what_it_has_deferred_can_not_be_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue_module, "HOOK", 0.2)
    delivery = bench.queue.add("hangs", maxTries=3)
    goes_on = threading.Event()

    overdue(bench, monkeypatch, delivery, deferred=waiting([], block=goes_on), delete=())

    goes_on.set()
    assert [one[0] for one in delivery.settled] == ["release"]
