"""A connection with leases, and queues that are paused."""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.memory import MemoryStore

NAMES = ("high", "low")


@pytest.fixture
def queue() -> Iterator[LeasingQueue]:
    """A connection that is open."""
    queue = LeasingQueue("memory", MemoryStore(), default_queue="high")
    queue.open(NAMES, SimpleQueue())
    yield queue
    queue.close(timeout=0.5)


def push(queue: LeasingQueue, name: str) -> None:
    """A job on one of its queues."""
    queue.push(Message(name.encode()), queue=name)


def test_nothing_is_taken_from_a_paused_queue_and_all_from_the_others(queue: LeasingQueue) -> None:
    push(queue, "high")
    push(queue, "low")
    queue.pause({"high"})

    popped = queue.pop(NAMES, 0.5)

    assert popped is not None
    assert popped.queue == "low"
    popped.delete()
    assert queue.pop(NAMES, 0.1) is None
    assert queue.sizes("high").pending == 1


def test_a_connection_is_exhausted_when_only_paused_queues_have_jobs(queue: LeasingQueue) -> None:
    push(queue, "high")
    queue.pause({"high"})
    assert queue.pop(NAMES, 0.1) is None
    assert queue.is_exhausted()

    queue.pause(())

    assert not queue.is_exhausted()


def test_a_worker_that_waits_gets_the_job_as_soon_as_its_queue_goes_on(queue: LeasingQueue) -> None:
    push(queue, "high")
    queue.pause(NAMES)
    assert queue.pop(NAMES, 0.1) is None
    threading.Timer(0.05, queue.pause, [()]).start()
    began = time.monotonic()

    popped = queue.pop(NAMES, 10)

    assert popped is not None
    assert time.monotonic() - began < 5


def test_what_was_put_back_goes_to_its_paused_queue(queue: LeasingQueue) -> None:
    push(queue, "high")
    popped = queue.pop(NAMES, 1)
    assert popped is not None
    popped.put_back()
    queue.pause({"high"})

    assert queue.pop(NAMES, 0.1) is None

    assert queue.sizes("high").pending == 1


def test_an_idle_worker_does_not_ask_for_news_of_paused_queues(queue: LeasingQueue) -> None:
    asked: list[object] = []
    store = queue._store
    take = store.take
    store.take = lambda *arguments: asked.append(arguments) or take(*arguments)  # type: ignore[method-assign,func-returns-value]
    push(queue, "high")
    queue.pause(NAMES)

    assert queue.pop(NAMES, 1.2) is None

    assert len(asked) < 10
