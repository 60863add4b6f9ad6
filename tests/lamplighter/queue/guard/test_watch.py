"""The job in hand and its deadline."""

import faulthandler
import threading
import time

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.guard.control import NEVER
from lamplighter.queue.guard.deadlines import Hand
from lamplighter.queue.guard.watch import Chore, Watch
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Start


@pytest.fixture
def start() -> Start:
    """A start of some delivery."""
    return Start(SyncDelivery(Message(b"{}"), "kafka", "store"), Policy(tries=1, backoff=(), timeout=1))


def test_a_job_is_taken_once(start: Start) -> None:
    hand = Hand[Start]()
    hand.put(start, NEVER)

    assert (hand.take(start), hand.take(start)) == (True, False)


def test_an_overdue_job_is_not_the_workers_any_more(start: Start) -> None:
    hand = Hand[Start]()
    hand.put(start, time.monotonic() + 1)

    overdue = hand.take_overdue(time.monotonic() + 2)
    hand.set_timer()

    assert overdue is start
    assert not hand.take(start)


def test_a_job_within_its_time_is_left_alone(start: Start) -> None:
    hand = Hand[Start]()
    hand.put(start, NEVER)

    assert hand.take_overdue(time.monotonic()) is None
    assert hand.take(start)


def test_a_limit_holds_for_whatever_is_in_hand(start: Start) -> None:
    hand = Hand[Start]()
    hand.put(start, NEVER)

    assert hand.take_overdue(time.monotonic(), limit=time.monotonic() - 1) is start


def test_the_watch_finds_an_overdue_job_and_goes_on_after_a_chore_that_failed(start: Start) -> None:
    hand = Hand[Start]()
    found: list[Start] = []
    seen = threading.Event()

    def fails() -> None:
        raise OSError("the disk is full")

    def on_overdue(overdue: Start) -> None:
        found.append(overdue)
        seen.set()

    watch = Watch(hand, on_overdue, [Chore(0, fails)])
    watch.start()
    hand.put(start, time.monotonic() + 0.2)

    was_seen = seen.wait(5)
    watch.end()
    watch.join(5)

    assert (was_seen, found) == (True, [start])


def test_a_job_that_comes_while_the_timer_is_taken_away_has_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    timer: list[str] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: timer.append("set"))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: timer.append("taken away"))
    hand = Hand[Start]()
    deadline = time.monotonic() + 60
    hand.put(start, deadline)
    hand.take(start)

    class Late(dict[Start, float]):
        """Empty when it is looked at; then the next job comes."""

        has_come = False

        def __len__(self) -> int:
            if self.has_come:
                return dict.__len__(self)
            self.has_come = True
            hand.put(start, deadline)
            return 0

    monkeypatch.setattr(hand, "_held", Late())
    hand.set_timer()

    assert timer[-1] == "set"


def test_the_timer_waits_for_an_overdue_job_until_that_is_let_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    timer: list[float] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **_: timer.append(seconds))
    hand, other = Hand[Start](), Start(SyncDelivery(Message(b"{}"), "kafka", "store"), start.policy)
    now = time.monotonic()
    hand.put(start, now - 3)
    hand.put(other, now + 600)

    overdue = hand.take_overdue(now)
    hand.set_timer()
    at_first = list(timer)
    hand.go_on()
    hand.put(other, now + 900)
    while_threads_run = timer[1:]
    hand.let_go(start)

    assert overdue is start
    assert at_first == pytest.approx([2], abs=0.5)
    assert while_threads_run == pytest.approx([5], abs=0.5)
    assert timer[2:] == pytest.approx([905], abs=0.5)


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_a_deadline_that_no_timer_can_hold_is_watched_all_the_same(start: Start, seconds: float) -> None:
    hand = Hand[Start]()
    deadline = time.monotonic() + seconds

    hand.put(start, deadline)

    assert hand.take_overdue(time.monotonic()) is None
    assert hand.take_overdue(deadline) is start
