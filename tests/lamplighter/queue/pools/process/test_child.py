"""The worker inside of a process slot."""

import faulthandler
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import pytest

from lamplighter.contracts import Delivery, WorkQueue
from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.errors import SlotTerminated, Unavailable
from lamplighter.queue.events import JobFailed, JobReleased
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import CLAIM_JOB, write
from lamplighter.queue.pools.making import make_slot
from lamplighter.queue.pools.process.child import Handling, SlotFailing, SlotQueue, SlotRunner, others_of
from lamplighter.queue.pools.process.wire import (
    Began,
    Ended,
    Failing,
    Frames,
    FromSlot,
    Run,
    RunMany,
    Stop,
    frame,
    from_slot,
)
from lamplighter.queue.worker.loop import Worker
from tests.lamplighter.queue.conftest import Bench
from tests.lamplighter.queue.worker.test_awkward_errors import AWKWARD


@dataclass(frozen=True)
class Quick(Job):
    """Ends at once."""

    name = "quick"

    def handle(self) -> None:
        """Nothing to do."""


def test_the_end_of_a_slot_is_not_told_as_that_of_a_worker(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    bench.worker(make=partial(make_slot, others=others_of)).work()

    assert caplog.records == []


def test_a_slot_that_waits_has_no_timer_of_its_last_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[str] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: timers.append("set"))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: timers.append("cancelled"))
    bench.queue.add("quick")

    bench.worker(Quick, make=partial(make_slot, others=others_of)).work()

    assert timers == ["set", "cancelled"]


handling = Handling()
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
told: list[str] = []


@dataclass(frozen=True)
class Fails(Job):
    """Fails, and so does its `failed()` where its data say how."""

    name = "fails"

    text: str = "boom"
    hook: str = ""
    awkward: str = ""

    def handle(self) -> None:
        """Fail."""
        if self.awkward:
            raise AWKWARD[self.awkward]()
        raise RuntimeError(self.text.replace("?", "\udc80"))

    def failed(self, error: BaseException) -> None:
        """Tell, then fail."""
        told.append(f"failed {type(error).__name__}")
        if self.hook == "away":
            raise Unavailable("the mailer is away")
        if self.hook == "leaves":
            raise SystemExit(3)


@dataclass(frozen=True)
class BrokenOff(Job):
    """Is broken off as TERM does it, and makes of it what its data say."""

    name = "broken_off"

    makes: str = ""

    def handle(self, delivery: Delivery) -> None:
        """Be broken off."""
        if self.makes in ("delete", "fail"):
            getattr(delivery, self.makes)()
        try:
            handling.broken_off = handling.start
            raise SlotTerminated(143)
        except SystemExit:
            if self.makes == "swallows it":
                return
            if self.makes == "leaves by itself":
                raise SystemExit(0) from None
            if self.makes == "raises another":
                raise KeyError("cleaning up") from None
            raise

    def failed(self, error: BaseException) -> None:
        """Tell."""
        told.append(f"failed {type(error).__name__}")


@dataclass(frozen=True)
class Looks(Job):
    """Looks at a context variable, sets it, and fails."""

    name = "looks"

    def handle(self) -> None:
        """Look."""
        self.look("handle")
        raise RuntimeError("boom")

    def failed(self, error: BaseException) -> None:
        """Look."""
        self.look("failed")

    def look(self, where: str) -> None:
        """Note what is seen, and leave something."""
        told.append(f"{where} {tenant.get()}")
        tenant.set("acme")


@dataclass(frozen=True)
class Together(Job):
    """Is handled with others of its class."""

    name = "together"

    n: int = 0

    @classmethod
    def handle_many(cls, jobs: Sequence[Self]) -> None:
        """Tell of all."""
        told.append(f"together {[job.n for job in jobs]}")


class InSlot:
    """A slot in this very process, and the other end of its socket."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._ours, theirs = socket.socketpair()
        self._target = bench.queue
        self.queue = SlotQueue(theirs, bench.queue, threading.Event())
        self._theirs = theirs
        bench.events.listen(JobReleased, lambda event: self.queue.explain(event.error))
        bench.events.listen(JobFailed, lambda event: self.queue.explain(event.error))

    def run(self, *jobs: tuple[str, dict[str, str]]) -> list[FromSlot]:
        """What it says of these jobs, from the word that the first has begun."""
        return self._run(*_runs(jobs))

    def run_many(self, *jobs: tuple[str, dict[str, Any]]) -> list[FromSlot]:
        """The same for jobs that are sent for one call."""
        return self._run(RunMany(_runs(jobs)))

    def _run(self, *messages: Run | RunMany) -> list[FromSlot]:
        worker = self._worker()
        for message in (*messages, Stop()):
            self._ours.sendall(frame(message))
        self.queue.open((), worker.control.bell)
        worker.work()
        return self.said()

    def said(self) -> list[FromSlot]:
        """What it has said since it was ready."""
        self._ours.setblocking(False)
        return [from_slot.decode(body) for body in Frames().feed(self._ours.recv(1_000_000))][1:]

    def leave(self) -> None:
        """Have no worker any more."""
        self._ours.close()

    def close(self) -> None:
        """Let go of the slot's end, too."""
        self._theirs.close()

    def _worker(self) -> Worker:
        bench = self._bench

        def make(queue: WorkQueue, runner: Any, _: Any, *arguments: Any, **keywords: Any) -> Worker:
            ours = SlotRunner(bench.registry, bench.container, runner._defaults, handling=handling)
            failing = SlotFailing(bench.failed_jobs, ours)  # type: ignore[arg-type]
            return make_slot(self.queue, ours, failing, *arguments, others=others_of, **keywords)

        return bench.worker(Fails, BrokenOff, Looks, Together, make=make)


def _runs(jobs: Sequence[tuple[str, dict[str, Any]]]) -> list[Run]:
    return [
        Run(number, write(name, data, id=str(number), max_tries=1), None, [], "jobs", "list", "here", None, 0, False, 0)
        for number, (name, data) in enumerate(jobs, start=1)
    ]


@pytest.fixture
def slot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[InSlot]:
    told.clear()
    handling.broken_off = None
    is_gone = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: is_gone.set())  # what the thread that listens does without a worker
    one = InSlot(bench)
    yield one
    one.leave()
    assert is_gone.wait(10)
    one.close()


def test_a_slot_whose_worker_is_gone_ends_without_a_trace(slot: InSlot) -> None:
    slot.leave()

    slot.queue.tell(Began(1))  # what it had to say is nobody's any more


def words(said: list[FromSlot]) -> list[str]:
    """What was said, in short."""
    return [f"{type(one).__name__} {one.kind}" if isinstance(one, Ended) else type(one).__name__ for one in said]


def test_a_slot_says_how_far_the_end_of_a_failed_job_has_come(slot: InSlot) -> None:
    said = slot.run(("fails", {}))

    assert words(said) == ["Began", "Failing", "Recorded", "Ended fail"]
    failing = said[1]
    assert isinstance(failing, Failing)
    assert (failing.error.module, failing.error.name, failing.error.text) == ("builtins", "RuntimeError", "boom")
    assert failing.error.trace.endswith("RuntimeError: boom\n")
    assert told == ["failed RuntimeError"]


def test_a_slot_tells_of_the_failed_job_alone_what_it_has_ended_before(slot: InSlot) -> None:
    said = slot.run(("fails", {}), ("fails", {}))

    assert words(said) == ["Began", "Failing", "Recorded", "Ended fail"] * 2


def test_a_text_that_no_wire_takes_is_told_as_far_as_it_can_be(slot: InSlot) -> None:
    said = slot.run(("fails", {"text": "no file ?"}))

    assert words(said)[-1] == "Ended fail"
    assert isinstance(said[1], Failing)
    assert said[1].error.text == "no file \\udc80"


@pytest.mark.parametrize("kind", AWKWARD)
def test_an_error_that_hides_its_names_is_recorded_once_and_told(slot: InSlot, bench: Bench, kind: str) -> None:
    bench.database_errors = SqlAlchemyErrors()

    said = slot.run(("fails", {"awkward": kind}), ("fails", {}))

    assert words(said) == ["Began", "Failing", "Recorded", "Ended fail"] * 2
    assert isinstance(said[1], Failing)
    assert type(AWKWARD[kind]()).__qualname__ in said[1].error.trace
    assert len(bench.failed_jobs.records) == 2


@pytest.mark.parametrize(("hook", "end"), [("away", "Ended hold"), ("leaves", "Ended fail")])
def test_what_failed_raises_in_a_slot_is_told(slot: InSlot, hook: str, end: str) -> None:
    said = slot.run(("fails", {"hook": hook}))

    assert words(said) == ["Began", "Failing", "Recorded", end]


def test_a_record_that_is_refused_is_left_to_the_worker(slot: InSlot, bench: Bench) -> None:
    bench.failed_jobs.refusals = 1

    said = slot.run(("fails", {}))

    assert words(said) == ["Began", "Failing", "Ended hold"]
    end = said[-1]
    assert isinstance(end, Ended)
    assert end.error is not None
    assert end.error.text == "the store is away"
    assert told == []


def test_no_job_of_a_slot_sees_the_context_variables_of_another(slot: InSlot) -> None:
    slot.run(("looks", {}), ("looks", {}))

    assert told == ["handle nobody", "failed nobody"] * 2


@pytest.mark.parametrize("makes", ["", "leaves by itself", "raises another"])
def test_whatever_a_job_makes_of_being_broken_off_is_not_its_own_end(slot: InSlot, bench: Bench, makes: str) -> None:
    with pytest.raises(SlotTerminated):
        slot.run(("broken_off", {"makes": makes}))

    assert words(slot.said()) == ["Began"]
    assert (bench.failed_jobs.records, told) == ([], [])


@pytest.mark.parametrize(
    ("makes", "end"), [("swallows it", "Ended delete"), ("delete", "Ended delete"), ("fail", "Ended fail")]
)
def test_a_job_that_was_broken_off_is_done_when_it_returns_or_has_asked_for_an_end(
    slot: InSlot, makes: str, end: str
) -> None:
    said = slot.run(("broken_off", {"makes": makes}))

    assert words(said)[-1] == end


@pytest.mark.parametrize("unreadable", [1, 2, 3])
def test_a_call_is_made_of_the_jobs_that_can_be_read_whichever_comes_first(slot: InSlot, unreadable: int) -> None:
    claim: tuple[str, dict[str, Any]] = (CLAIM_JOB, {})  # whose payload is gone

    said = slot.run_many(*[claim if n <= unreadable else ("together", {"n": n}) for n in range(1, 5)])

    ends = {one.number: one.kind for one in said if isinstance(one, Ended)}
    assert ends == {n: "fail" if n <= unreadable else "delete" for n in range(1, 5)}
    assert told == [f"together {list(range(unreadable + 1, 5))}"]


def test_a_slot_whose_loop_meets_an_error_ends_though_a_job_has_left_a_thread() -> None:
    program = (
        "import threading, time\n"
        "from lamplighter.queue.pools.process import main\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "main.main = lambda arguments: 1 / 0\n"
        "main.run([])\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
