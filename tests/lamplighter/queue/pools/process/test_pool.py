"""The pool of processes, with a slot that only speaks the language of slots."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import psutil
import pytest

from lamplighter.errors import ConsoleError, JobTimedOut, SlotDied, Unavailable
from lamplighter.queue.failed.trace import format_trace
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.pools.pool import Outcome
from lamplighter.queue.pools.process.pool import LEAVE, MOST_FAILED_BOOTS, ProcessPool, SlotOptions
from lamplighter.queue.worker.runner import Start
from lamplighter.queue.worker.verdicts import Verdict
from tests.harness import command_of, wait_for
from tests.lamplighter.queue.conftest import ListQueue

SLOT = """
import os, signal, socket, sys, time
from lamplighter.queue.guard.signals import OF_SLOTS
from lamplighter.support.early_signals import let_through
from lamplighter.queue.pools.process.wire import (
    Began, Ended, Error, Failing, Frames, Ready, Recorded, Run, frame, receive, to_slot,
)

signal.signal(signal.SIGUSR1, signal.SIG_IGN)
let_through(OF_SLOTS)
connection = socket.socket(fileno=int(sys.argv[-1].removeprefix("--fd=")))
connection.sendall(frame(Ready(os.getpid())))
frames = Frames()
while data := receive(connection):
    for body in frames.feed(data):
        message = to_slot.decode(body)
        if not isinstance(message, Run):
            sys.exit(0)
        what = message.payload.decode()
        if what == "die before":
            sys.exit(3)
        connection.sendall(frame(Began(message.number)))
        own = Error("app.Jobs.it", "Refused", "no", "its trace")
        if "record" in what or "failed" in what:
            connection.sendall(frame(Failing(message.number, own)))
        if "failed" in what:
            connection.sendall(frame(Recorded(message.number)))
        if what == "take a second in failed":
            time.sleep(1)
            connection.sendall(frame(Ended(message.number, "fail", error=own)))
            continue
        if what == "failed() waits":
            connection.sendall(frame(Ended(message.number, "hold", error=Error("builtins", "ConnectionError", "away"))))
            continue
        if what == "refused its record":
            refusal = Error("builtins", "ConnectionError", "away")
            connection.sendall(frame(Ended(message.number, "hold", error=refusal)))
            continue
        if what.startswith("hold on"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        if what == "babble":
            connection.sendall(bytes([0, 0, 0, 3]) + b"not")
            time.sleep(60)
        if what.startswith("die"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "hang":
            time.sleep(60)
        end = Ended(message.number, "delete", 1.5)
        if what == "again":
            end = Ended(message.number, "release", 1.5, True, own)
        connection.sendall(frame(end))
"""


class Pooled:
    """A pool, and what has become of its starts."""

    def __init__(self, folder: Path, program: str = SLOT, **options: int) -> None:
        command = [sys.executable, "-c", program]
        self.pool = ProcessPool(SlotOptions(command, folder, options.pop("slots", 1), **options))
        self.ended: SimpleQueue[tuple[Start, Outcome]] = SimpleQueue()
        self.pool.open(lambda start, outcome: self.ended.put((start, outcome)))
        self._queue = ListQueue()

    def submit(self, what: str, *, timeout: float = 0) -> Start:
        """Run a start that does something."""
        policy = Policy(tries=1, backoff=(), timeout=timeout)
        start = Start(self._queue.add_raw(what.encode()), policy)
        start.name = what
        self.pool.submit(start)
        return start

    def outcome(self, seconds: float = 15) -> Outcome:
        """What has become of the next one."""
        try:
            return self.ended.get(timeout=seconds)[1]
        except Empty:
            raise AssertionError("no start has come to its end") from None

    def children(self) -> list[int]:
        """The slots' processes."""
        mine = psutil.Process().children()
        return sorted(child.pid for child in mine if SLOT in command_of(child))


def refusing(refusals: list[Exception], *, after: threading.Event | None = None) -> Callable[..., object]:
    """A Popen that is refused so often, and waits for an event."""
    popen = subprocess.Popen

    def start(*arguments: Any, **keywords: Any) -> object:
        assert after is None or after.wait(5)
        if refusals:
            raise refusals.pop()
        return popen(*arguments, **keywords)

    return start


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[Callable[..., Pooled]]:
    made: list[Pooled] = []

    def make(program: str = SLOT, **options: int) -> Pooled:
        made.append(Pooled(tmp_path, program, **options))
        return made[-1]

    yield make
    for one in made:
        one.pool.close()


@pytest.mark.parametrize(("what", "is_recorded"), [("failed() waits", True), ("refused its record", False)])
def test_the_worker_knows_whether_the_record_of_a_slot_stands(
    pooled: Callable[..., Pooled], what: str, is_recorded: bool
) -> None:
    one = pooled()

    start = one.submit(what)
    outcome = one.outcome()

    assert isinstance(outcome, Verdict)
    assert outcome.kind == "hold"
    assert start.delivery.is_recorded is is_recorded


def test_a_slot_gives_its_verdict(pooled: Callable[..., Pooled]) -> None:
    one = pooled()
    one.submit("work")
    first = one.outcome()

    one.submit("again")
    second = one.outcome()

    assert first == Verdict("delete", 1.5)
    assert isinstance(second, Verdict)
    assert (second.kind, second.delay, str(second.error)) == ("release", 1.5, "no")
    assert second.error is not None
    assert format_trace(second.error) == "app.Jobs.it.Refused: no\nits trace\n"


def test_a_slot_that_dies_has_failed_its_job_and_is_replaced(pooled: Callable[..., Pooled]) -> None:
    one = pooled()
    one.submit("die")
    died = one.outcome()

    one.submit("work")

    assert isinstance(died, SlotDied)
    assert "ended by SIGSEGV" in str(died)
    assert one.outcome() == Verdict("delete", 1.5)


def test_a_slot_whose_words_can_not_be_read_has_failed_its_job_alone(pooled: Callable[..., Pooled]) -> None:
    pooled_ = pooled()

    pooled_.submit("babble")
    outcome = pooled_.outcome()
    pooled_.submit("fine")

    assert isinstance(outcome, SlotDied)
    assert pooled_.outcome() == Verdict("delete", 1.5)
    assert pooled_.pool.failure is None


def test_what_a_slot_had_not_begun_is_run_by_another(pooled: Callable[..., Pooled]) -> None:
    one = pooled()
    one.submit("work")
    one.outcome()
    (pid,) = one.children()
    os.kill(pid, signal.SIGSTOP)
    start = one.submit("work")

    os.kill(pid, signal.SIGKILL)

    assert one.ended.get(timeout=15) == (start, Verdict("delete", 1.5))
    assert one.children() != [pid]


def test_a_slot_is_ended_at_the_timeout_of_its_job(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.queue.pools.process.pool.KILL_AFTER", 60)  # so that TERM has to do
    one = pooled(slots=2)
    hanging = one.submit("hang", timeout=0.5)
    working = one.submit("work")

    outcomes = dict(one.ended.get(timeout=15) for _ in range(2))

    assert outcomes[working] == Verdict("delete", 1.5)
    assert isinstance(outcomes[hanging], JobTimedOut)


def test_a_slot_that_holds_on_is_killed(pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.queue.pools.process.pool.KILL_AFTER", 0.5)
    one = pooled()
    one.submit("hold on", timeout=0.3)

    assert isinstance(one.outcome(), JobTimedOut)


def own_error(outcome: Outcome) -> tuple[str, str]:
    """What a verdict is, and which error it is about."""
    assert isinstance(outcome, Verdict)
    assert outcome.error is not None
    return outcome.kind, f"{type(outcome.error).__name__}: {outcome.error}"


def test_the_end_of_a_failed_job_has_a_time_of_its_own(pooled: Callable[..., Pooled]) -> None:
    one = pooled()
    one.submit("take a second in failed", timeout=0.3)

    first = one.outcome()

    assert own_error(first) == ("fail", "Refused: no")
    assert one.ended.empty()


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("hold on in failed", "fail"),  # it is recorded, and failed() has been called
        ("hold on in record", "record"),
        ("die in failed", "fail"),
        ("die in record", "record"),
    ],
)
def test_a_slot_that_ends_after_its_handler_has_failed_its_job_with_its_own_error_once(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch, what: str, kind: str
) -> None:
    monkeypatch.setattr("lamplighter.queue.worker.settling.LEAST_END", 0.2)
    monkeypatch.setattr("lamplighter.queue.pools.process.pool.KILL_AFTER", 0.2)
    one = pooled()
    one.submit(what, timeout=0.2)

    outcome = one.outcome()
    one.submit("work")

    assert own_error(outcome) == (kind, "Refused: no")
    assert one.outcome() == Verdict("delete", 1.5)
    assert one.ended.empty()


def test_a_job_that_could_not_be_recorded_comes_back_with_its_own_error(pooled: Callable[..., Pooled]) -> None:
    one = pooled()
    one.submit("refused its record")

    outcome = one.outcome()

    assert own_error(outcome) == ("hold", "Refused: no")
    assert isinstance(outcome, Verdict)
    assert str(outcome.refusal) == "away"


def test_beyond_the_grace_period_a_record_is_left_to_the_next_worker(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.queue.pools.process.pool.KILL_AFTER", 0.2)
    one = pooled()
    start = one.submit("hold on in record")
    (slot,) = one.pool._slots
    wait_for(lambda: slot.failing, what="the word that it has failed")

    has_ended = one.pool.has_ended(start)
    one.pool.overrun(start)

    assert has_ended
    assert own_error(one.outcome()) == ("hold", "Refused: no")


def test_a_job_that_waits_for_a_slot_is_given_back_when_there_is_no_time_left(pooled: Callable[..., Pooled]) -> None:
    one = pooled()
    one.submit("hang")
    waiting = one.submit("work")

    was_ended = one.pool.overrun(waiting)

    assert was_ended
    assert isinstance(one.outcome(), Unavailable)


def test_slots_that_never_get_ready_are_given_up(pooled: Callable[..., Pooled]) -> None:
    one = pooled("import sys; sys.exit(5)")

    wait_for(lambda: one.pool.failure is not None, what="the failure")

    assert isinstance(one.pool.failure, ConsoleError)
    assert "with exit code 5" in str(one.pool.failure)
    assert MOST_FAILED_BOOTS == 3


def test_a_slot_that_hangs_at_its_start_counts_as_failed(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.queue.pools.process.pool.BOOT", 0.2)
    one = pooled("import time; time.sleep(60)")

    wait_for(lambda: one.pool.failure is not None, what="the failure")

    assert "by SIG" in str(one.pool.failure)


def test_a_process_that_can_not_be_started_is_tried_again(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[Exception] = [OSError(errno.ENOMEM, "Cannot allocate memory")] * (MOST_FAILED_BOOTS - 1)
    monkeypatch.setattr(subprocess, "Popen", refusing(refusals))
    one = pooled()

    one.submit("work")

    assert one.outcome() == Verdict("delete", 1.5)
    assert one.pool.failure is None


@pytest.mark.parametrize("refusal", [OSError(errno.EAGAIN, "no more processes"), RuntimeError("no more processes")])
def test_slots_that_nobody_can_start_end_the_worker(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    monkeypatch.setattr(subprocess, "Popen", refusing([refusal] * MOST_FAILED_BOOTS))

    one = pooled()

    wait_for(lambda: one.pool.failure is not None, what="the failure")
    assert "no more processes" in str(one.pool.failure)


def test_a_pool_is_open_before_its_processes_are_there(
    pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    monkeypatch.setattr(subprocess, "Popen", refusing([], after=opened))
    one = pooled()
    opened.set()

    one.submit("work")

    assert one.outcome() == Verdict("delete", 1.5)


def test_slots_are_renewed_after_their_jobs(pooled: Callable[..., Pooled]) -> None:
    one = pooled(max_jobs=5)
    seen: set[int] = set()
    for _ in range(20):
        one.submit("work")
        one.outcome()
        seen.update(one.children())

    assert 4 <= len(seen) <= 6


def test_closing_leaves_no_process(pooled: Callable[..., Pooled]) -> None:
    one = pooled(slots=3)
    one.submit("work")
    one.outcome()

    one.pool.close()

    assert one.children() == []


def test_closing_waits_for_no_slot_to_boot(pooled: Callable[..., Pooled]) -> None:
    one = pooled("import time; time.sleep(60)")
    began = time.monotonic()

    one.pool.close()

    assert time.monotonic() - began < LEAVE


def test_no_payload_is_too_large_for_the_socket(pooled: Callable[..., Pooled]) -> None:
    one = pooled()

    one.submit("x" * 5_000_000)

    assert one.outcome() == Verdict("delete", 1.5)
