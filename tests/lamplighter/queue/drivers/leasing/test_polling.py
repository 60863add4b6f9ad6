"""A worker whose store begins a job as soon as it comes, in a poll that can't be called off."""

import threading
import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing import polling as module
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease, Taken
from lamplighter.queue.drivers.memory import MemoryStore
from lamplighter.testing.waiting import LONG, wait_for

QUICK = 2.0  # seconds in which something happens that waits for no poll


class PollingStore(MemoryStore):
    """Jobs in memory, polled as those of SQS are."""

    def __init__(self, poll_for: float) -> None:
        super().__init__(seconds=60)
        self.poll_for = poll_for
        self.polls = 0
        self.looks = 0
        self.given_back = 0
        self.is_away = False
        self._polled: str | None = None
        self._came = threading.Event()

    def push(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        """Push, and end the poll."""
        super().push(queue, messages, delay)
        self._came.set()

    def take(self, queues: Sequence[str], most: int, ended: Sequence[Ended]) -> Taken:
        """Leave the queue alone that is polled."""
        self.given_back += sum(end.how is How.GIVEN_BACK for end in ended)
        self.looks += bool(queues) and queues[0] != self._polled
        return super().take([queue for queue in queues if queue != self._polled], most, ended)

    def poll(self, queue: str) -> Sequence[Lease]:
        """Wait, then take."""
        if self.is_away:
            raise Unavailable("away")
        self._polled = queue
        self.polls += 1
        try:
            self._came.wait(self.poll_for)
            self._came.clear()
            return super().take([queue], 1, ()).leases
        finally:
            self._polled = None


class Worker:
    """A connection of one worker."""

    def __init__(self, store: PollingStore, *names: str, slots: int = 1) -> None:
        self.store = store
        self.names = names
        self.bell: SimpleQueue[object] = SimpleQueue()
        self.queue = LeasingQueue("polled", store, default_queue=names[0])
        self.queue.open(names, self.bell, slots=slots)

    def idle(self) -> threading.Thread:
        """Wait for a job in another thread until the bell rings; polled by then."""
        thread = threading.Thread(target=self.queue.pop, args=(self.names, LONG))
        thread.start()
        wait_for(lambda: self.store.polls, what="the poll")
        return thread


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    """Those that are closed at the end of a test."""
    made: list[Worker] = []
    yield made
    for worker in made:
        worker.queue.close(timeout=0.1)


def worker_of(workers: list[Worker], *names: str, poll_for: float = LONG, slots: int = 1) -> Worker:
    """A worker of queues."""
    workers.append(Worker(PollingStore(poll_for), *(names or ("jobs",)), slots=slots))
    return workers[-1]


def test_an_idle_worker_of_one_queue_makes_one_poll_after_the_other_and_no_look_beside(workers: list[Worker]) -> None:
    worker = worker_of(workers, poll_for=1.0)

    assert worker.queue.pop(worker.names, 3.3) is None

    assert 3 <= worker.store.polls <= 4
    assert worker.store.looks <= 2


def test_a_job_that_comes_is_begun_at_once_and_once(workers: list[Worker]) -> None:
    worker = worker_of(workers)
    threading.Timer(0.2, worker.store.push, ["jobs", [Message(b"1")], 0]).start()
    began = time.monotonic()

    delivery = worker.queue.pop(worker.names, LONG)

    assert time.monotonic() - began < QUICK
    assert delivery is not None
    assert (delivery.payload, delivery.retries) == (b"1", 0)
    assert not worker.queue.is_exhausted()
    delivery.delete()
    assert worker.queue.pop(worker.names, 0) is None
    assert worker.queue.is_exhausted()


def test_no_poll_is_under_way_while_the_only_slot_is_taken(workers: list[Worker]) -> None:
    worker = worker_of(workers)
    threading.Timer(0.2, worker.store.push, ["jobs", [Message(b"1")], 0]).start()
    assert worker.queue.pop(worker.names, LONG) is not None
    polls = worker.store.polls

    worker.store.push("jobs", [Message(b"2")], 0)

    assert not threading.Event().wait(0.3)
    assert (worker.store.polls, worker.store.sizes("jobs").pending) == (polls, 1)


def test_another_slot_is_polled_for_while_a_job_is_in_hand(workers: list[Worker]) -> None:
    worker = worker_of(workers, slots=2)
    worker.store.push("jobs", [Message(b"1")], 0)
    first = worker.queue.pop(worker.names, 0)
    threading.Timer(0.2, worker.store.push, ["jobs", [Message(b"2")], 0]).start()

    second = worker.queue.pop(worker.names, LONG)

    assert first is not None
    assert second is not None
    assert second.payload == b"2"


def test_the_bell_is_heard_while_a_poll_is_under_way(workers: list[Worker]) -> None:
    worker = worker_of(workers)
    thread = worker.idle()
    began = time.monotonic()

    worker.bell.put(None)
    thread.join(LONG)

    assert time.monotonic() - began < QUICK


@pytest.mark.parametrize("how", ["paused", "held"])
def test_what_comes_to_a_worker_that_takes_nothing_goes_back_unstarted_and_no_further_poll_begins(
    workers: list[Worker], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(module, "GAP", 0.0)
    monkeypatch.setattr("lamplighter.queue.drivers.leasing.queue.GAP", 0.0)
    worker = worker_of(workers)
    thread = worker.idle()
    if how == "paused":
        worker.queue.pause(worker.names)
    else:
        worker.bell.put(None)  # and nobody pops any more, as in maintenance mode
        thread.join(LONG)

    worker.store.push("jobs", [Message(b"1")], 0)

    wait_for(lambda: worker.store.given_back, what="the job is given back")
    assert not threading.Event().wait(0.6)
    assert (worker.store.polls, worker.store.given_back, worker.store.sizes("jobs").pending) == (1, 1, 1)
    [lease] = worker.store.take(["jobs"], 1, ()).leases
    assert lease.retries == 0
    worker.bell.put(None)
    thread.join(LONG)


def test_a_worker_that_ends_waits_for_its_poll_and_gives_back_what_that_has_begun(workers: list[Worker]) -> None:
    worker = worker_of(workers)
    thread = worker.idle()
    worker.bell.put(None)
    thread.join(LONG)
    threading.Timer(0.3, worker.store.push, ["jobs", [Message(b"1")], 0]).start()
    began = time.monotonic()

    is_told = worker.queue.close(timeout=LONG)

    assert 0.2 < time.monotonic() - began < QUICK
    assert is_told
    [lease] = worker.store.take(["jobs"], 1, ()).leases
    assert lease.retries == 0


def test_a_worker_that_has_no_time_leaves_its_poll_and_says_so(
    workers: list[Worker], caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(workers)
    thread = worker.idle()
    worker.bell.put(None)
    thread.join(LONG)
    began = time.monotonic()

    worker.queue.close(timeout=0.5)

    assert time.monotonic() - began < QUICK + 1
    wait_for(lambda: "an answer of the store was not waited for" in caplog.text, what="the warning")


def test_a_worker_of_several_queues_is_not_polled_for(workers: list[Worker]) -> None:
    worker = worker_of(workers, "high", "low")

    assert worker.queue.pop(worker.names, 1.2) is None

    assert worker.store.polls == 0
    worker.store.push("low", [Message(b"1")], 0)
    assert worker.queue.pop(worker.names, LONG) is not None


def test_a_store_that_is_away_for_a_poll_is_asked_again(workers: list[Worker]) -> None:
    worker = worker_of(workers)
    worker.store.is_away = True
    assert worker.queue.pop(worker.names, 0.2) is None

    worker.store.is_away = False
    wait_for(lambda: worker.queue.pop(worker.names, 0.1) is not None or worker.store.polls, what="the next poll")
