"""The queue on leases, where its threads, its store and its worker's end meet."""

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError, Unavailable
from lamplighter.events import Dispatcher
from lamplighter.queue.drivers.failover.breaker import CircuitBreaker
from lamplighter.queue.drivers.failover.queue import FailoverQueue
from lamplighter.queue.drivers.leasing import queue as queue_module
from lamplighter.queue.drivers.leasing import waking as waking_module
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.renewing import Renewing
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore, Lease, Taken
from lamplighter.queue.drivers.memory import MemoryStore
from lamplighter.testing.conformance.base import message
from lamplighter.testing.conformance.workers import Site
from lamplighter.testing.waiting import LONG, wait_for
from tests.lamplighter.queue.drivers.leasing.faulty import FaultyStore
from tests.programs import run

NAMES = ("jobs",)


class Opened:
    """A connection that is open, and its store."""

    def __init__(self, store: JobStore, *, slots: int = 1) -> None:
        self.bell: SimpleQueue[object] = SimpleQueue()
        self.queue = LeasingQueue("memory", store, default_queue="jobs")
        self.queue.open(NAMES, self.bell, slots=slots)

    def push(self, *numbers: int) -> None:
        """Push jobs."""
        for number in numbers:
            self.queue.push(Message(json.dumps({"n": number}).encode()), queue="jobs")

    def pop(self, wait: float = 0.0) -> LeasedDelivery | None:
        """Pop."""
        return self.queue.pop(NAMES, wait)

    def renew(self) -> None:
        """Do what the thread does that renews leases."""
        assert self.queue._renewing is not None
        self.queue._renewing.look()

    def take(self) -> LeasedDelivery:
        """Pop what must be there."""
        delivery = self.pop(LONG)
        assert delivery is not None
        return delivery


@pytest.fixture
def store() -> MemoryStore:
    """Jobs in memory, with short leases."""
    return MemoryStore(seconds=1.0)


@pytest.fixture
def opened(store: MemoryStore) -> Iterator[list[Opened]]:
    """What a test opens, and this closes."""
    opened: list[Opened] = []
    yield opened
    for one in opened:
        one.queue.close(timeout=1)


def numbers(store: MemoryStore) -> list[tuple[int, int]]:
    """What is left in a store: each job, and how often it was started before, in the order in which they come."""
    taken = store.take(NAMES, 100, ())
    return [(json.loads(lease.payload)["n"], lease.retries) for lease in taken.leases]


class KeepingStore(MemoryStore):
    """Can't take a start back."""

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Keep what is excused."""
        kept = [end for end in ended if end.how is How.EXCUSED]
        taken = super().take(queues, most, [end for end in ended if end not in kept])
        return Taken(taken.leases, taken.next_due, kept)


# what is kept ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_the_store_can_not_excuse_waits_here_beside_others(opened: list[Opened]) -> None:
    one = Opened(KeepingStore(seconds=1.0))
    opened.append(one)
    one.push(1, 2)
    first = one.take()
    began = time.monotonic()

    first.release(2.0, counted=False)

    assert json.loads(one.take().payload) == {"n": 2}
    again = one.take()
    assert time.monotonic() - began >= 2.0
    assert (again.payload, again.retries, again.excused) == (first.payload, 0, 1)
    assert not again.lease.is_lost


def test_a_job_that_waits_here_is_not_run_while_its_queue_is_paused(opened: list[Opened]) -> None:
    one = Opened(KeepingStore(seconds=1.0))
    opened.append(one)
    one.push(1)
    one.take().release(0.0, counted=False)
    one.queue.pause(NAMES)

    assert one.pop(1.5) is None

    one.queue.pause(())
    assert one.take().excused == 1


@pytest.mark.parametrize("is_told", [False, True])
def test_a_job_that_waits_here_is_given_back_at_the_end(is_told: bool) -> None:
    store = KeepingStore(seconds=60.0)
    one = Opened(store)
    one.push(1)
    one.take().release(60.0, counted=False)
    if is_told:
        assert one.pop(0.1) is None

    assert one.queue.close(timeout=5)

    assert numbers(store) == [(1, 0)]


# answers that come late ─────────────────────────────────────────────────────────────────────────────────────────────


class Late(MemoryStore):
    """Jobs whose worker hears late of what it has: it was frozen, or its store.

    Attributes:
        late: how many of the next answers come when the leases that they tell of are over.
    """

    def __init__(self) -> None:
        super().__init__(seconds=0.2)
        self.poll_for = 0
        self.late = 0

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take, and say so late."""
        taken = super().take(queues, most, ended)
        if taken.leases:
            self._be_late()
        return taken

    def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Renew, and say so late."""
        lost = super().renew(leases)
        self._be_late()
        return lost

    def _be_late(self) -> None:
        if self.late:
            self.late -= 1
            time.sleep(self.seconds * 1.1)


class LatePolls(Late):
    """The same of a store that is polled."""

    def __init__(self) -> None:
        super().__init__()
        self.poll_for = 1

    def poll(self, queue: str) -> Sequence[Lease]:
        """Say late what was taken."""
        if self.wait([queue], self.poll_for):
            return self.take([queue], 1, ()).leases
        return ()


@pytest.fixture
def no_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was frozen as a whole: the thread that renews leases has not come to it yet."""
    monkeypatch.setattr(Renewing, "start", lambda self: None)


def test_a_job_that_another_worker_has_when_its_answer_comes_is_not_begun(
    opened: list[Opened], no_renewals: None
) -> None:
    store = Late()
    opened.append(Opened(store))
    opened[0].push(1)
    store.late = 1
    other = threading.Timer(store.seconds * 1.05, lambda: MemoryStore.take(store, NAMES, 1, ()))
    other.start()

    assert opened[0].pop() is None

    other.join()
    assert not opened[0].queue._in_hand


def test_a_job_whose_lease_is_over_when_its_answer_comes_is_leased_anew(
    opened: list[Opened], no_renewals: None
) -> None:
    store = Late()
    opened.append(Opened(store))
    opened[0].push(1)
    store.late = 1

    delivery = opened[0].take()

    assert store.take(NAMES, 1, ()).leases == []
    assert not delivery.lease.is_lost


def test_a_job_is_not_begun_by_a_renewal_whose_answer_comes_late_too(
    opened: list[Opened], no_renewals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "AWAY", 0.01)
    store = Late()
    opened.append(Opened(store))
    opened[0].push(1)
    store.late = 2

    assert opened[0].pop() is None

    assert opened[0].take().lease.is_lost is False


def test_a_job_is_looked_at_whose_answer_came_late_while_other_leases_were_renewed(
    opened: list[Opened], no_renewals: None
) -> None:
    store = Late()
    opened.append(Opened(store, slots=2))
    opened[0].push(1)
    opened[0].take()
    opened[0].push(2)
    store.late = 1
    looks = threading.Timer(store.seconds * 0.5, opened[0].renew)
    looks.start()

    second = opened[0].take()

    looks.join()
    assert second.leased_at > time.monotonic() - store.seconds
    assert second.lease not in store.renew([second.lease])


def test_a_job_of_a_poll_whose_answer_comes_late_is_not_begun_beside_another_worker(
    opened: list[Opened], no_renewals: None
) -> None:
    store = LatePolls()
    opened.append(Opened(store))
    store.late = 1
    others: list[Taken] = []
    begins = 0.05  # seconds until the job comes
    timers = [
        threading.Timer(begins, opened[0].push, (1,)),
        threading.Timer(begins + store.seconds * 0.5, opened[0].renew),
        threading.Timer(begins + store.seconds * 1.05, lambda: others.append(MemoryStore.take(store, NAMES, 1, ()))),
    ]
    for timer in timers:
        timer.start()

    delivery = opened[0].pop(0.5)

    for timer in timers:
        timer.join()
    assert (delivery is None) is bool(others[0].leases)


# the end ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_not_run_is_given_back_in_its_order(store: MemoryStore) -> None:
    one = Opened(store, slots=4)
    one.push(1, 2, 3, 4, 5)
    one.take()

    assert one.queue.close(timeout=1)

    assert numbers(store) == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]


def test_a_failed_job_without_its_record_was_started_when_its_worker_leaves(store: MemoryStore) -> None:
    one = Opened(store)
    one.push(1)
    delivery = one.take()
    delivery.failure = ValueError("its own")
    delivery.release(2.0)

    assert one.queue.close(timeout=1)

    assert numbers(store) == [(1, 1)]


def test_a_job_that_its_worker_has_died_of_was_started(store: MemoryStore) -> None:
    one = Opened(store)
    one.push(1)

    assert one.take().count_crash()
    one.queue.close(timeout=1)

    assert numbers(store) == [(1, 1)]


def test_of_a_job_that_has_ended_no_crash_is_counted(store: MemoryStore, opened: list[Opened]) -> None:
    opened.append(Opened(store))
    opened[0].push(1)
    delivery = opened[0].take()
    delivery.delete()

    assert not delivery.count_crash()


def test_a_job_that_was_given_back_is_not_deleted_by_a_handler_that_comes_back_later(store: MemoryStore) -> None:
    one = Opened(store)
    one.push(1)
    delivery = one.take()
    one.queue.close(timeout=1)

    delivery.delete()
    one.queue.close(timeout=1)

    assert numbers(store) == [(1, 0)]


class Hanging(MemoryStore):
    """A store whose calls hang when they are told to."""

    def __init__(self) -> None:
        super().__init__(seconds=1.0)
        self.hangs = False
        self.goes_on = threading.Event()
        self.has_begun = threading.Event()

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take, or hang."""
        if self.hangs:
            self.has_begun.set()
            self.goes_on.wait(LONG)
        return super().take(queues, most, ended)


def test_an_end_is_bounded_while_the_store_hangs() -> None:
    store = Hanging()
    one = Opened(store)
    one.push(1)
    one.take()
    store.hangs = True
    began = time.monotonic()

    assert not one.queue.close(timeout=0.3)

    assert time.monotonic() - began < 2
    store.goes_on.set()


def test_an_end_is_bounded_while_another_thread_hangs_in_the_store() -> None:
    store = Hanging()
    one = Opened(store)
    one.push(1)
    one.take().delete()
    store.hangs = True
    threading.Thread(target=one.pop, daemon=True).start()
    assert store.has_begun.wait(LONG)
    began = time.monotonic()

    assert not one.queue.close(timeout=0.3)

    assert time.monotonic() - began < 2
    store.goes_on.set()


def test_what_a_call_begins_while_the_worker_ends_is_given_back() -> None:
    store = Hanging()
    one = Opened(store)
    one.push(1)
    store.hangs = True
    popping = threading.Thread(target=one.pop, daemon=True)
    popping.start()
    assert store.has_begun.wait(LONG)
    closing = threading.Thread(target=lambda: one.queue.close(timeout=LONG), daemon=True)
    closing.start()
    wait_for(lambda: one.queue._is_closing, what="the end")

    store.goes_on.set()
    popping.join(LONG)
    closing.join(LONG)

    assert numbers(store) == [(1, 0)]


def test_what_a_store_that_was_away_may_have_begun_is_given_back(store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    one = Opened(faulty)
    one.push(1)
    faulty.faults = ["after"]
    assert one.pop() is None

    assert one.queue.close(timeout=5)

    assert numbers(store) == [(1, 0)]


# threads ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Odd(MemoryStore):
    """A store with an error of its library's, as many times as it is told to."""

    def __init__(self) -> None:
        super().__init__(seconds=0.6)
        self.errors: list[BaseException] = []
        self.waits = 0

    def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait, or fail."""
        self.waits += 1
        if self.errors:
            raise self.errors.pop()
        return super().wait(queues, min(0.05, seconds))

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take, or fail where another thread tells of ends."""
        if self.errors and not queues:
            raise self.errors.pop()
        return super().take(queues, most, ended)


def test_the_thread_that_waits_for_news_outlives_any_error(
    opened: list[Opened], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waking_module, "REST", 0.01)
    store = Odd()
    store.errors = [ValueError("the library's own"), Unavailable("away")]
    opened.append(Opened(store))
    assert opened[0].pop(0.2) is None

    wait_for(lambda: store.waits > 2, what="another wait")

    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    opened[0].push(1)
    assert opened[0].pop(LONG) is not None


def test_the_thread_that_renews_outlives_any_error(opened: list[Opened]) -> None:
    store = Odd()
    opened.append(Opened(store))
    opened[0].push(1, 2)
    first, second = opened[0].take(), opened[0].take()
    store.errors = [ValueError("the library's own"), QueueError("for good")]
    first.delete()
    wait_for(lambda: not store.errors, what="two errors")
    held = second.lease.handle[0]
    until = store._lines["jobs"].reserved[held]

    wait_for(lambda: store._lines["jobs"].reserved[held] > until, what="a renewal")

    assert not second.lease.is_lost


def test_jobs_that_a_paused_worker_has_taken_are_left_to_others(
    store: MemoryStore, opened: list[Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "LEFT", 0.1)
    opened += [Opened(store, slots=3)]
    opened[0].push(1, 2, 3)
    opened[0].take()

    wait_for(lambda: store.sizes("jobs").pending == 2, what="their return")

    assert numbers(store) == [(2, 0), (3, 0)]


def test_jobs_of_a_queue_that_is_paused_go_back_in_their_order(store: MemoryStore, opened: list[Opened]) -> None:
    opened += [Opened(store, slots=4)]
    opened[0].push(1, 2, 3, 4)
    opened[0].take()

    opened[0].queue.pause(["jobs"])
    assert opened[0].pop() is None
    opened[0].queue._look_after()

    assert numbers(store) == [(2, 0), (3, 0), (4, 0)]


def test_jobs_of_a_broken_call_stay_with_their_worker(
    store: MemoryStore, opened: list[Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "LEFT", 0.0)
    opened += [Opened(store, slots=2)]
    opened[0].push(1, 2)
    deliveries = [opened[0].take(), opened[0].take()]
    for delivery in reversed(deliveries):
        delivery.singly = True
        delivery.put_back()

    opened[0].queue._look_after()

    assert [opened[0].pop(), opened[0].pop()] == deliveries


def test_a_worker_that_takes_nothing_more_is_not_woken_in_a_circle(
    opened: list[Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.queue.drivers.leasing.held.MOST_HELD", 1)
    store = Odd()
    opened.append(Opened(store))
    opened[0].push(1, 2)
    delivery = opened[0].take()
    delivery.failure = ValueError("its own")
    delivery.release(30.0)

    assert opened[0].pop(0.3) is None

    assert store.waits < 5


# what is seen from outside ──────────────────────────────────────────────────────────────────────────────────────────


def test_queues_are_not_exhausted_while_a_job_is_in_hand_or_may_come_back(
    store: MemoryStore, opened: list[Opened]
) -> None:
    opened.append(Opened(store, slots=2))
    opened[0].push(1)
    delivery = opened[0].take()
    assert opened[0].pop() is None
    while_in_hand = opened[0].queue.is_exhausted()

    delivery.release(0.0)
    while_told = opened[0].queue.is_exhausted()
    opened[0].queue._look_after()
    when_told = opened[0].queue.is_exhausted()
    opened[0].take().delete()
    assert opened[0].pop() is None

    assert (while_in_hand, while_told, when_told) == (False, False, False)
    assert opened[0].queue.is_exhausted()


def test_what_is_released_by_another_thread_is_popped_when_it_is_due(store: MemoryStore, opened: list[Opened]) -> None:
    store.look_every = 60.0
    opened.append(Opened(store, slots=2))
    opened[0].push(1)
    delivery = opened[0].take()
    assert opened[0].pop() is None

    delivery.release(0.05)
    opened[0].queue._look_after()

    assert opened[0].pop(5.0) is not None


def test_a_store_that_is_away_is_not_asked_at_each_turn(store: MemoryStore, opened: list[Opened]) -> None:
    faulty = FaultyStore(store)
    opened.append(Opened(faulty))
    opened[0].push(1)
    opened[0].take().delete()
    faulty.faults = ["before"] * 5

    for _ in range(5):
        assert opened[0].pop() is None

    assert len(faulty.faults) >= 3


def test_excuses_are_remembered_without_their_payloads(store: MemoryStore, opened: list[Opened]) -> None:
    opened.append(Opened(store))
    opened[0].push(1)
    for count in range(3):
        delivery = opened[0].take()
        assert delivery.excused == count
        delivery.release(0.0, counted=False)

    assert not any(isinstance(part, bytes) for key in opened[0].queue._held._excused for part in key)


FORKS = """
from queue import SimpleQueue
from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.memory import MemoryStore

store = MemoryStore()
queue = LeasingQueue("memory", store, default_queue="jobs")
queue.open(("jobs",), SimpleQueue())
queue.push(Message(b"{}"), queue="jobs")
delivery = queue.pop(("jobs",), 5)
child = os.fork()
if child == 0:
    told = []
    store.take = lambda *arguments: told.append(arguments)
    delivery.delete()
    queue.close(timeout=1)
    os._exit(len(told))
assert outcome(child) == 0
delivery.release(0)
assert queue.pop(("jobs",), 5).retries == 1
"""


def test_a_child_ends_nothing_that_its_parent_has_in_hand() -> None:
    run(FORKS)


@pytest.mark.parametrize("how", How)
def test_the_end_of_a_lease_that_ran_out_is_told_and_changes_nothing(
    store: MemoryStore, opened: list[Opened], how: How, caplog: pytest.LogCaptureFixture
) -> None:
    opened.append(Opened(store))
    opened[0].push(1)
    delivery = opened[0].take()
    delivery.lease.is_lost = True
    store._lines["jobs"].reserved[delivery.lease.handle[0]] = 0.0
    assert numbers(store) == [(1, 1)]

    opened[0].queue.end(delivery, how)
    opened[0].queue._look_after()

    assert "had run out" in caplog.text
    assert store.sizes("jobs").reserved == 1


# queues with weights ────────────────────────────────────────────────────────────────────────────────────────────────


class Counted(MemoryStore):
    """A store that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(seconds=LONG)
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Take."""
        self.asked.append((tuple(queues), len(ended)))
        return super().take(queues, most, ended)


def test_a_queue_with_a_weight_and_no_job_costs_no_call() -> None:
    store = Counted()
    queue = LeasingQueue("memory", store, default_queue="full")
    names = ("empty:9", "full:1")
    queue.bulk([Message(b"%d" % n) for n in range(5)], queue="full")
    queue.open(names, SimpleQueue())

    for _ in range(5):
        delivery = queue.pop(names, 0)
        assert delivery is not None
        delivery.delete()

    assert len(store.asked) == 5
    assert all(sorted(asked) == ["empty", "full"] for asked, _ in store.asked)
    queue.close(timeout=1)


def test_weights_count_on_a_failover_too(store: MemoryStore) -> None:
    first = LeasingQueue("memory", store, default_queue="a")
    queue = FailoverQueue("failover", [first], Dispatcher(), [CircuitBreaker(1)])
    names = ("a:1", "b:3")
    queue.open(names, SimpleQueue())
    came = []
    for name in "ab":
        queue.bulk([Message(b"%d" % n) for n in range(8)], queue=name)

    for _ in range(8):
        delivery = queue.pop(names, 0)
        assert delivery is not None
        came.append(delivery.queue)
        delivery.delete()

    assert (came.count("a"), came.count("b")) == (2, 6)
    queue.close(timeout=1)


def test_without_weights_queues_are_asked_as_they_are_named() -> None:
    store = Counted()
    queue = LeasingQueue("memory", store, default_queue="a")
    names = ("emails:high", "b", "a")
    queue.open(names, SimpleQueue())

    queue.pop(names, 0)

    assert store.asked == [(names, 0)]
    queue.close(timeout=1)


# many jobs in one call ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_jobs_of_a_call_are_settled_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBES", str(tmp_path))
    store = Counted()
    site = Site(lambda: LeasingQueue("memory", store, default_queue="jobs"), tmp_path, NAMES)
    site.push(*(message(n, "many probes") for n in range(4)))

    site.work("solo", stop_when_empty=True)

    assert site.calls() == [4]
    assert [ended for _, ended in store.asked if ended] == [4]


# keys ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Keyless(MemoryStore):
    """A store that keeps nothing beside a payload."""

    keeps_headers = False


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (b'{"job":"a","data":{},"id":"7","attempts":0,"delay":null}', b"7"),
        (b'{"job": "a", "id": "7"}', b"7"),
        (b'{"id":7,"job":"a"}', b"7"),
        (b'{"job":"a","id":"\\u00fc"}', "ü".encode()),
        (b"no payload", None),
    ],
)
def test_a_key_that_is_the_payload_s_id_is_carried(payload: bytes, key: bytes | None) -> None:
    queue = LeasingQueue("memory", Keyless(), default_queue="a")

    queue.push(Message(payload, key), queue="a")

    assert queue.sizes("a").pending == 1


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (b'{"job":"a","data":{"id":"7"},"id":"8"}', b"7"),
        (b'{"job":"a"}', b"7"),
        (b"no payload", b"7"),
        (b'{"job":"a","id":""}', b"\xff"),
        (b'{"job":"a","id":null}', b"None"),
    ],
)
def test_a_key_that_would_be_lost_is_refused_with_advice(payload: bytes, key: bytes) -> None:
    queue = LeasingQueue("memory", Keyless(), default_queue="a")

    with pytest.raises(QueueError, match=r"carries a key only as the payload's `id`.*text of 1 to 1,000 bytes"):
        queue.bulk([Message(b"{}"), Message(payload, key)], queue="a")

    assert queue.sizes("a").pending == 0
