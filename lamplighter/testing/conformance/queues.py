"""What a connection promises to the worker that pops from it."""

import time
from collections.abc import Callable
from functools import partial

from lamplighter.contracts import WorkQueue
from lamplighter.testing.conformance.base import attempts_of, message, needs, number_of
from lamplighter.testing.conformance.carrying import CarryingConformance
from lamplighter.testing.conformance.hands import Hand, Open
from lamplighter.testing.conformance.sharing import SharingConformance
from lamplighter.testing.waiting import LONG, Beside

MANY = 700  # messages of one bulk: more than a driver sends in one call


class QueueConformance(CarryingConformance, SharingConformance):
    """A driver gives `connect`, or `config` where each connection that is made from it has the same jobs."""

    # pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("two workers")
    def test_many_jobs_are_pushed_and_each_is_popped_by_one_of_two_workers(
        self, connect: Callable[[], WorkQueue], opened: Open, queues: tuple[str, str]
    ) -> None:
        count = connect().bulk((message(n) for n in range(MANY)), queue=queues[1])
        left = set(range(MANY))

        def drain(hand: Hand) -> list[int]:
            found: list[int] = []
            came_at = time.monotonic()
            # Until all have come to either: what this one has been given already waits for it.
            while left and time.monotonic() - came_at < LONG:
                delivery = hand.look(0.1)
                if delivery is None:
                    continue
                found.append(number_of(delivery.payload))
                left.discard(found[-1])
                delivery.delete()
                came_at = time.monotonic()
            return found

        workers = [
            Beside(partial(drain, hand), what="a worker that takes and deletes jobs")
            for hand in (opened(), opened(slots=8))
        ]
        came = [n for worker in workers for n in worker.result(self.patience)]

        assert count == MANY
        missing = sorted(set(range(MANY)) - set(came))
        assert not missing, f"{len(missing)} of {MANY} jobs did not come, and none else for {LONG:g} s: {missing[:10]}"
        assert len(came) == MANY, "a job came twice"

    # popping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def test_without_a_job_a_pop_ends_in_time_or_when_the_bell_rings(self, opened: Open) -> None:
        hand = opened()
        began = time.monotonic()
        assert hand.queue.pop(hand._names, 0) is None
        assert hand.queue.pop(hand._names, 0.2) is None
        in_time = time.monotonic() - began

        waiting = Beside(lambda: hand.queue.pop(hand._names, LONG), what="a pop whose bell was rung")
        hand.bell.put(None)
        rung = waiting.result(self.late)

        assert 0.2 <= in_time < 0.2 + self.late
        assert rung is None

    @needs("two workers")
    def test_an_idle_worker_pops_what_another_process_pushes(
        self, connect: Callable[[], WorkQueue], opened: Open, queues: tuple[str, str]
    ) -> None:
        hand = opened()
        pushing = connect()
        assert hand.look(0) is None

        waiting = Beside(lambda: hand.look(LONG), what="a pop while another pushes")
        pushing.push(message(7), queue=queues[1])
        delivery = waiting.result(self.late)

        assert delivery is not None
        assert number_of(delivery.payload) == 7

    @needs("order")
    def test_jobs_come_in_the_order_of_their_pushes(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened(slots=3)
        for n in range(7):
            hand.queue.push(message(n), queue=queues[1])

        popped = []
        for _ in range(7):
            delivery = hand.pop()
            popped.append(number_of(delivery.payload))
            delivery.delete()

        assert popped == list(range(7))

    @needs("delays")
    def test_a_delayed_job_is_never_early(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened()
        began = time.monotonic()
        hand.queue.push(message(1), queue=queues[0], delay=self.step)

        delivery = hand.pop()

        assert self.step <= time.monotonic() - began < self.step + self.late
        assert attempts_of(delivery.payload, delivery.retries) == 1

    def test_the_queues_are_exhausted_when_all_is_popped_and_settled(
        self, opened: Open, queues: tuple[str, str]
    ) -> None:
        hand = opened()
        for n, name in enumerate(queues):
            hand.queue.push(message(n), queue=name)

        first = hand.pop()
        assert not hand.queue.is_exhausted()
        first.delete()
        hand.pop().delete()

        assert hand.look(0.1) is None
        assert hand.queue.is_exhausted()
        assert hand.queue.stall(is_busy=False) is None
        assert time.monotonic() - hand.queue.polled_at() < self.late

    # settling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("delays")
    def test_a_release_counts_and_an_excused_one_does_not(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened()
        hand.queue.push(message(1), queue=queues[0])
        attempts, excused = [], []
        hand.pop().release(self.step)
        released = time.monotonic()

        delivery = hand.pop()
        waited = time.monotonic() - released
        attempts.append(attempts_of(delivery.payload, delivery.retries))
        if "excuses" not in self.lacks:
            for _ in range(2):
                delivery.release(0, counted=False)
                delivery = hand.pop()
                attempts.append(attempts_of(delivery.payload, delivery.retries))
                excused.append(delivery.excused)

        assert self.step <= waited
        assert set(attempts) == {2}
        assert excused in ([], [1, 2])
        delivery.delete()

    def test_what_is_put_back_is_the_next_and_was_started_once(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened()
        for n in (1, 2):
            hand.queue.push(message(n), queue=queues[0])
        delivery = hand.pop()
        number = number_of(delivery.payload)

        delivery.put_back()
        again = hand.pop()

        assert number_of(again.payload) == number
        assert attempts_of(again.payload, again.retries) == 1
        again.delete()
        hand.pop().delete()

    @needs("two workers")
    def test_a_failure_that_can_not_be_recorded_waits_with_its_worker(
        self, opened: Open, queues: tuple[str, str]
    ) -> None:
        hand, second = opened(), opened()
        hand.queue.push(message(1), queue=queues[0])
        delivery, error = hand.pop(), ValueError("the job's own")
        delivery.failure = error
        delivery.release(0.1)

        again = hand.pop()

        assert again.failure is error
        assert attempts_of(again.payload, again.retries) == 2
        again.fail(error)
        assert hand.look(0.1) is second.look(0.1) is None

    @needs("two workers", "excuses")
    def test_a_worker_that_leaves_gives_back_what_it_has_not_run(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened(slots=4)
        for n in range(5):
            hand.queue.push(message(n), queue=queues[0])
        hand.pop()  # in hand, and not settled
        hand.pop().put_back()

        is_closed = hand.close()
        second = opened()
        left = [second.pop(self.lease / 2) for _ in range(1)]
        left[0].delete()
        while (delivery := second.look(0.1)) is not None:
            left.append(delivery)
            delivery.delete()

        assert is_closed
        numbers = [number_of(delivery.payload) for delivery in left]
        assert sorted(numbers) == list(range(5))
        if not self.lacks.keys() & {"order", "first again"}:
            assert numbers == list(range(5))
        assert {attempts_of(delivery.payload, delivery.retries) for delivery in left} == {1}

    # leases ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("two workers", "leases")
    def test_a_job_that_is_longer_than_its_lease_runs_once(self, opened: Open, queues: tuple[str, str]) -> None:
        hand, second = opened(), opened()
        hand.queue.push(message(1), queue=queues[0])
        delivery = hand.pop()

        assert second.look(2.5 * self.lease) is None

        delivery.delete()
        assert hand.look(0.1) is second.look(0.1) is None

    # operators ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def test_of_a_paused_queue_nothing_is_taken(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened(slots=3)
        first, second = queues
        hand.queue.bulk([message(1), message(2)], queue=first)
        hand.queue.push(message(3), queue=second)
        delivery = hand.pop()

        hand.queue.pause([first])
        while_paused = [number_of(hand.pop().payload), hand.look(0.1)]
        hand.queue.pause([])
        resumed = hand.pop()

        assert delivery.queue == resumed.queue == first
        assert while_paused == [3, None]
        assert {number_of(one.payload) for one in (delivery, resumed)} == {1, 2}
        assert attempts_of(resumed.payload, resumed.retries) == 1

    @needs("sizes")
    def test_jobs_are_counted(self, opened: Open, queues: tuple[str, str]) -> None:
        hand = opened()
        for n in range(3):
            hand.queue.push(message(n), queue=queues[0])
        hand.pop()

        sizes, others = hand.queue.sizes(queues[0]), hand.queue.sizes(queues[1])

        assert (sizes.pending, sizes.reserved) == (2, 1)
        assert (others.pending, others.reserved) == (0, 0)

    @needs("clear", "two workers")
    def test_a_queue_is_cleared_and_the_other_is_not(
        self, connect: Callable[[], WorkQueue], opened: Open, queues: tuple[str, str]
    ) -> None:
        operator = connect()
        for n in range(3):
            operator.push(message(n), queue=queues[0])
        operator.push(message(9), queue=queues[1])

        count = operator.clear(queues[0])

        assert count == 3
        hand = opened()
        assert number_of(hand.pop().payload) == 9
        assert hand.look(0.1) is None
