"""When jobs come: at once, in their order, never early, and once however long they run."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, How
from lamplighter.queue.drivers.redis.store import RedisStore
from tests.harness import wait_for
from tests.lamplighter.queue.drivers.redis.conftest import Stores
from tests.lamplighter.queue.drivers.redis.laravel import Laravel

pytestmark = pytest.mark.redis
NAMES = ("high", "low")


@pytest.fixture
def queues(make_store: Stores) -> Iterator[list[LeasingQueue]]:
    """Connections of two workers, whose leases are short."""
    queues = [LeasingQueue("redis", make_store(retry_after=0.5), default_queue="high") for _ in range(2)]
    for queue in queues:
        queue.open(NAMES, SimpleQueue())
    yield queues
    for queue in queues:
        queue.close(timeout=1)


def test_a_wait_ends_as_soon_as_somebody_pushes(store: RedisStore, laravel: Laravel) -> None:
    for push in (
        lambda: store.push("low", [Message(b"ours")], 0),
        lambda: laravel.push("low", b'{"attempts":0}'),
    ):
        threading.Timer(0.1, push).start()
        began = time.monotonic()

        assert store.wait(NAMES, 2)

        assert time.monotonic() - began < 1
        assert len(store.take(NAMES, 1, []).leases) == 1
        assert not store.wait(NAMES, 0.05)


def test_an_idle_worker_gets_a_job_of_php_s_at_once(queues: list[LeasingQueue], laravel: Laravel) -> None:
    assert queues[0].pop(NAMES, 0.05) is None
    threading.Timer(0.2, laravel.push, ["low", b'{"attempts":0}']).start()
    began = time.monotonic()

    popped = queues[0].pop(NAMES, 10)

    assert popped is not None
    assert time.monotonic() - began < 1


def test_two_idle_workers_get_two_jobs_at_once(queues: list[LeasingQueue], store: RedisStore) -> None:
    """What one took from the notes while it waited is not missing for the other."""
    popped: list[float] = []

    def work(queue: LeasingQueue) -> None:
        while (delivery := queue.pop(NAMES, 3)) is not None:
            popped.append(time.monotonic())
            time.sleep(0.3)
            delivery.delete()

    threads = [threading.Thread(target=work, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    time.sleep(0.5)
    began = time.monotonic()
    store.push("low", [Message(b"1"), Message(b"2")], 0)
    for thread in threads:
        thread.join(10)

    assert len(popped) == 2
    assert max(popped) - began < 0.3


@pytest.mark.parametrize("delay", [0.05, 0.3, 1.0, 1.2])
def test_an_idle_worker_gets_a_delayed_job_in_time_and_never_early(
    queues: list[LeasingQueue], store: RedisStore, delay: float
) -> None:
    assert queues[0].pop(NAMES, 0.05) is None
    began = time.time()
    store.push("low", [Message(b"1")], delay)
    pushed = time.time()

    popped = queues[0].pop(NAMES, 10)

    late = time.time() - began - delay
    assert popped is not None
    assert time.time() - began >= delay
    assert late < 0.5 + pushed - began


def test_no_delay_is_cut_short_by_any_fraction(store: RedisStore) -> None:
    for number in range(60):
        delay = 0.001 + number / 7000
        began = time.time()
        store.push("low", [Message(b"%d" % number)], delay)
        while not (taken := store.take(["low"], 1, []).leases):
            pass
        assert time.time() >= began + delay
        store.take((), 0, [Ended(taken[0], How.DELETED)])


def test_no_low_job_begins_while_a_high_one_waits(store: RedisStore, make_store: Stores) -> None:
    pushed = threading.Event()
    highs = 0

    def push() -> None:
        nonlocal highs
        other = make_store()
        for number in range(50):
            other.push("low", [Message(b"low %d" % number)], 0)
            other.push("high", [Message(b"high %d" % number)], 0)
        pushed.set()

    threading.Thread(target=push).start()
    ended: list[Ended] = []
    order: list[str] = []
    while not pushed.is_set() or store.sizes("low").pending or store.sizes("high").pending:
        waiting = store.sizes("high").pending
        leases = store.take(NAMES, 1, ended).leases
        ended = [Ended(lease, How.DELETED) for lease in leases]
        for lease in leases:
            order.append(lease.queue)
            assert not (waiting and lease.queue == "low")

    assert order.count("high") == order.count("low") == 50


def test_a_queue_that_is_named_twice_is_one(store: RedisStore) -> None:
    store.push("low", [Message(b"1"), Message(b"2")], 0)
    [first] = store.take(["low", "high", "low"], 1, []).leases

    [second] = store.take(["low", "high", "low"], 1, [Ended(first, How.DELETED)]).leases

    assert (first.queue, second.queue, store.sizes("low").reserved) == ("low", "low", 1)


def test_what_is_due_or_lost_is_of_its_queue_s_rank(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    store.push("low", [Message(b"low")], 0)
    client.zadd(f"{prefix}queues:high:delayed", {b"due": 1})
    client.zadd(f"{prefix}queues:high:reserved", {b"lost": 1})

    payloads = [store.take(NAMES, 1, []).leases[0].payload for _ in range(3)]

    assert payloads == [b"lost", b"due", b"low"]


def test_a_job_of_three_leases_runs_once_on_two_workers(queues: list[LeasingQueue], store: RedisStore) -> None:
    store.push("low", [Message(b'{"attempts":0}')], 0)
    popped: list[LeasedDelivery] = []

    def work(queue: LeasingQueue) -> None:
        until = time.monotonic() + 6
        while time.monotonic() < until and not popped:
            delivery = queue.pop(NAMES, 0.2)
            if delivery is not None:
                popped.append(delivery)
                time.sleep(4.5)  # a lease is between 0.5 s and 2.5 s
                delivery.delete()

    threads = [threading.Thread(target=work, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    wait_for(lambda: popped)
    others = 0
    while any(thread.is_alive() for thread in threads):
        others += len(store.take(NAMES, 1, []).leases)
        time.sleep(0.05)

    assert (len(popped), others) == (1, 0)
    assert not popped[0].lease.is_lost
    wait_for(lambda: store.sizes("low").reserved == 0)


def test_an_idle_worker_makes_at_most_two_calls_a_second(
    queues: list[LeasingQueue], client: "redis.Redis", make_store: Stores
) -> None:
    queues[1].close(timeout=1)
    with suppress(AssertionError):
        assert queues[0].pop(NAMES, 1.0) is None  # the first calls connect

    def calls() -> int:
        statistics: Any = client.info("commandstats")
        names = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_blpop", "cmdstat_ping")
        return sum(int(statistics[name]["calls"]) for name in names if name in statistics)

    before, began, used = calls(), time.monotonic(), time.process_time()
    assert queues[0].pop(NAMES, 6.0) is None
    seconds = time.monotonic() - began

    assert (calls() - before) / seconds <= 2.0
    assert (time.process_time() - used) / seconds < 0.01


def test_a_job_that_a_dead_worker_had_is_taken_when_its_lease_is_over_and_not_before(
    make_store: Stores, client: "redis.Redis", prefix: str
) -> None:
    dead, alive = make_store(retry_after=1), make_store()
    dead.push("low", [Message(b'{"attempts":0}')], 0)
    began = time.time()
    dead.take(["low"], 1, [])

    while not (taken := alive.take(["low"], 1, [])).leases:
        assert taken.next_due is not None
        time.sleep(min(0.05, taken.next_due))

    assert 1 <= time.time() - began < 3.5
    assert taken.leases[0].payload == b'{"attempts":1}'
