"""Workers on leases, with a store that is away at any moment: no job is lost, and each start is counted once."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from queue import SimpleQueue
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing import queue as queue_module
from lamplighter.queue.drivers.leasing import renewing as renewing_module
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.renewing import Renewing
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from lamplighter.queue.drivers.leasing.waking import Waking
from lamplighter.queue.drivers.memory import MemoryStore
from tests.lamplighter.queue.drivers.leasing.faulty import Clock, Fault, FaultyStore

LEASE = 9.0
NAMES = ("high", "low")
EXAMPLES = 2_000 if os.environ.get("FAULTS") == "long" else 25
BOUND = 5.0  # seconds that a worker has for its end


class Worker:
    """A connection whose threads do only what they are told."""

    def __init__(self, inner: MemoryStore, slots: int) -> None:
        self.store = FaultyStore(inner)
        self.queue = LeasingQueue("faulty", self.store, default_queue="high")
        self.in_hand: list[LeasedDelivery] = []
        with patch.object(Renewing, "start"), patch.object(Waking, "start"):
            self.queue.open(NAMES, SimpleQueue(), slots=slots)

    def look(self) -> None:
        """What the thread does that renews leases."""
        renewing = self.queue._renewing
        assert renewing is not None
        renewing.look()


class Machine(RuleBasedStateMachine):
    """Two or three workers, and operations of each in any order."""

    @initialize(slots=st.lists(st.integers(1, 4), min_size=2, max_size=3))
    def begin(self, slots: list[int]) -> None:
        """Open the workers."""
        self.clock = Clock()
        self.patches = ExitStack()
        self.patches.enter_context(patch.object(queue_module, "time", self.clock))
        self.patches.enter_context(patch.object(renewing_module, "time", self.clock))
        self.inner = MemoryStore(seconds=LEASE, clock=self.clock.monotonic)
        self.slots = slots
        self.workers = [Worker(self.inner, count) for count in slots]
        self.gone: list[Worker] = []
        self.number = 0
        self.pushed: set[int] = set()
        self.popped: Counter[int] = Counter()
        self.done: set[int] = set()
        self.excusable: set[int] = set()  # id() of leases that may be lost: their worker was killed, or nobody renewed

    # what is done to it ────────────────────────────────────────────────────────────────────────────────────────────

    @rule(queue=st.sampled_from(NAMES), delay=st.sampled_from([0.0, 0.0, 0.4, 3.0]), count=st.integers(1, 4))
    def push(self, queue: str, delay: float, count: int) -> None:
        """Push some jobs."""
        for _ in range(count):
            self.number += 1
            self.pushed.add(self.number)
            payload = json.dumps({"n": self.number}).encode()
            self.inner.push(queue, [Message(payload)], delay)

    @rule(index=st.integers(0, 2), count=st.integers(1, 3))
    def pop(self, index: int, count: int) -> None:
        """Have a worker pop."""
        worker = self.worker(index)
        for _ in range(count):
            self.pop_one(worker)

    def pop_one(self, worker: Worker) -> LeasedDelivery | None:
        """Pop, and look whether that was right."""
        delivery = worker.queue.pop(NAMES, 0)
        if delivery is None:
            return None
        number = number_of(delivery)
        assert not any(delivery is other for other in worker.in_hand), "a job is given out twice at once"
        for other in self.workers:
            rivals = [one for one in other.in_hand if number_of(one) == number and other.store.holds(one.lease)]
            assert not rivals, f"job {number} is begun by two at once"
        worker.in_hand.append(delivery)
        assert worker.store.holds(delivery.lease), "a job is given out whose lease has run out"
        if delivery.failure is None and not delivery.singly:
            self.popped[number] += 1
            uncounted = sum(
                end.lease.handle[0].number == number and end.how in (How.EXCUSED, How.GIVEN_BACK) for end in self.ends()
            )
            begun = sum(lease.handle[0].number == number for lease in self.leases())
            assert delivery.retries + 1 == begun - uncounted, "a start is counted twice, or not at all"
        return delivery

    @rule(index=st.integers(0, 2), which=st.integers(0, 9), how=st.sampled_from([*How, "fail", "back"]))
    def settle(self, index: int, which: int, how: How | str) -> None:
        """Have a job come to an end."""
        worker = self.worker(index)
        if not worker.in_hand:
            return
        delivery = worker.in_hand.pop(which % len(worker.in_hand))
        if how is How.RELEASED and delivery.failure is None:
            delivery.release(0.7)
        elif how is How.EXCUSED and delivery.failure is None:
            delivery.release(0.7, counted=False)
        elif how == "fail" or delivery.failure is not None:
            counted = delivery.failure is None
            delivery.failure = ValueError("the store of failed jobs is away")
            delivery.release(2.0, counted=counted)
        elif how == "back":
            delivery.singly = True
            delivery.put_back()
        else:
            delivery.delete()

    @rule(seconds=st.floats(0.1, 3 * LEASE))
    def pass_time(self, seconds: float) -> None:
        """Let time pass while the threads of all workers go on."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += 0.5
            for worker in self.workers:
                worker.look()

    @rule(seconds=st.floats(LEASE, 2 * LEASE))
    def freeze(self, seconds: float) -> None:
        """Stop all workers for longer than a lease."""
        self.clock.now += seconds
        self.excusable |= {id(lease) for lease in self.leases()}

    @rule(index=st.integers(0, 2), faults=st.lists(st.sampled_from(["before", "after"]), min_size=1, max_size=2))
    def be_away(self, index: int, faults: list[Fault]) -> None:
        """Let the next calls of a worker fail, but no more than leases outlast."""
        self.worker(index).store.faults = faults

    @rule(index=st.integers(0, 2), leaves=st.booleans())
    def lose_an_answer(self, index: int, leaves: bool) -> None:
        """Have a worker begin jobs, and not hear of it."""
        worker = self.worker(index)
        self.settle(index, 0, How.DELETED)
        worker.store.faults = ["after"]
        self.clock.now += 1.0
        self.pop_one(worker)
        worker.store.faults = []
        if leaves:
            self.leave(index)
        else:
            self.settle(index, 0, How.RELEASED)
            self.pass_time(2.0)

    @rule(index=st.integers(0, 2))
    def leave(self, index: int) -> None:
        """Have a worker leave in order, and another one come."""
        worker = self.worker(index)
        began = self.clock.now
        is_told = worker.queue.close(timeout=BOUND)
        assert self.clock.now - began <= BOUND + 1
        assert is_told or worker.store.faults or self.clock.now > began
        if not is_told:
            self.excusable |= {id(lease) for lease in worker.store.begun}
        else:
            left = [lease for lease in worker.store.begun if worker.store.holds(lease)]
            assert not left, "a worker has left, and still has jobs"
        self.replace(worker)

    @rule(index=st.integers(0, 2))
    def kill(self, index: int) -> None:
        """Kill a worker; another one comes."""
        worker = self.worker(index)
        self.excusable |= {id(lease) for lease in worker.store.begun}
        self.replace(worker)

    # what holds at any time ────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    @precondition(lambda self: hasattr(self, "workers"))
    def a_live_worker_keeps_its_leases(self) -> None:
        """Unless it was frozen."""
        for worker in self.workers:
            for delivery in worker.in_hand:
                assert worker.store.holds(delivery.lease) or id(delivery.lease) in self.excusable

    def teardown(self) -> None:
        """In the end each job runs, but for those that are done."""
        if not hasattr(self, "workers"):
            return
        with self.patches:
            for worker in list(self.workers):
                worker.store.faults = []
                assert worker.queue.close(timeout=BOUND)
                assert not [lease for lease in worker.store.begun if worker.store.holds(lease)]
                self.gone.append(worker)
            self.workers = [Worker(self.inner, 3)]
            done = {end.lease.handle[0].number for end in self.ends() if end.how is How.DELETED}
            found: set[int] = set()
            for _ in range(3):
                self.clock.now += LEASE + 5
                while (delivery := self.pop_one(self.workers[0])) is not None:
                    found.add(number_of(delivery))
                    self.workers[0].in_hand.remove(delivery)
                    delivery.delete()
            assert found == self.pushed - done, "a job is lost, or was run after its end"
            self.pop_one(self.workers[0])
            given = {id(lease) for worker in [*self.gone, *self.workers] for lease in worker.store.given}
            unheard = [one for one in self.leases() if id(one) not in given and id(one) not in self.excusable]
            assert not unheard, "a start was counted that nobody was given"

    def worker(self, index: int) -> Worker:
        """One of those that live."""
        return self.workers[index % len(self.workers)]

    def replace(self, worker: Worker) -> None:
        """Let another one come."""
        self.gone.append(worker)
        place = self.workers.index(worker)
        self.workers[place] = Worker(self.inner, self.slots[place])

    def ends(self) -> Iterator[Ended]:
        """All ends that have taken effect."""
        return (end for worker in [*self.gone, *self.workers] for end in worker.store.ended)

    def leases(self) -> Iterator[Lease]:
        """All leases that were begun."""
        return (lease for worker in [*self.gone, *self.workers] for lease in worker.store.begun)


def number_of(delivery: LeasedDelivery) -> int:
    """The number of a job."""
    return int(json.loads(delivery.payload)["n"])


def test_no_job_is_lost_and_each_start_is_counted_once() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
