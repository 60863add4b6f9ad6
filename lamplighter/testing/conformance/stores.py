"""What a `JobStore` promises, looked at without the queue that stands on it."""

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore
from lamplighter.testing.conformance.asking import take, take_now
from lamplighter.testing.conformance.base import attempts_of, message, needs, number_of
from lamplighter.testing.conformance.bytes import HOSTILE
from lamplighter.testing.conformance.leases import LeaseConformance
from lamplighter.testing.conformance.operators import OperatorConformance
from lamplighter.testing.waiting import LONG, Beside, wait_for


class StoreConformance(LeaseConformance, OperatorConformance):
    """A driver on leases gives `connect_store`, and `lose_answers` and `cut` where it can break its own connection."""

    # pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("two workers")
    @pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
    def test_any_bytes_are_refused_or_come_as_they_were_pushed(
        self, store: JobStore, other: JobStore, queues: tuple[str, str], raw: bytes
    ) -> None:
        try:
            store.push(queues[0], [Message(raw)], 0)
        except Unavailable:
            raise
        except QueueError:
            assert take_now(other, queues) == []
            return

        [lease] = take(other, queues)

        assert lease.payload == raw
        assert lease.queue == queues[0]
        other.take((), 0, [Ended(lease, How.DELETED)])
        assert take_now(store, queues) == []

    @needs("large")
    def test_a_payload_may_have_a_million_bytes(self, store: JobStore, queues: tuple[str, str]) -> None:
        large = message(1, text="ü" * 500_000)
        store.push(queues[0], [large], 0)

        [lease] = take(store, queues)

        assert lease.payload == large.payload

    def test_key_and_headers_travel_where_the_store_says_so(self, store: JobStore, queues: tuple[str, str]) -> None:
        if not store.keeps_headers:
            pytest.skip("keeps_headers is False: only the payload travels")
        store.push(queues[0], [Message(b"{}", b"key", (("name", b"value"),))], 0)

        [lease] = take(store, queues)

        assert (lease.key, lease.headers) == (b"key", (("name", b"value"),))

    def test_the_time_of_a_push_is_told_or_unknown(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message()], 0)

        [lease] = take(store, queues)

        assert lease.timestamp_ms is None or abs(lease.timestamp_ms / 1000 - time.time()) < LONG

    # taking ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("order")
    def test_jobs_come_in_the_order_of_their_pushes(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message(n) for n in range(5)], 0)
        for n in range(5, 8):
            store.push(queues[0], [message(n)], 0)

        taken = [number_of(lease.payload) for _ in range(4) for lease in take(store, queues, most=2)]

        assert taken == list(range(8))

    def test_no_more_is_begun_than_was_asked_for(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message(n) for n in range(4)], 0)

        assert len(take(store, queues, most=3)) <= 3

    def test_without_queues_nothing_is_begun(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message()], 0)

        assert not store.take((), 0, ()).leases
        assert not store.take((), 3, ()).leases

        [lease] = take(store, queues)
        assert attempts_of(lease.payload, lease.retries) == 1

    @needs("priority")
    def test_a_later_queue_waits_while_an_earlier_one_has_a_job(self, store: JobStore, queues: tuple[str, str]) -> None:
        high, low = queues
        store.push(low, [message(n) for n in range(3)], 0)
        store.push(high, [message(10)], 0)

        first = take(store, queues, most=3)
        store.push(high, [message(11)], 0)
        second = take(store, queues, most=1)
        third = take(store, queues, most=3)

        assert [lease.queue for lease in first] == [high]
        assert [number_of(lease.payload) for lease in second] == [11]
        assert {lease.queue for lease in third} == {low}

    @needs("two workers")
    def test_a_job_is_given_to_one_of_those_who_ask_at_once(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        store.push(queues[0], [message(n) for n in range(60)], 0)
        begin = threading.Barrier(2)

        def drain(store: JobStore) -> list[int]:
            begin.wait(LONG)
            found: list[int] = []
            while (leases := take(store, queues, most=3, seconds=0.5)) and len(found) <= 60:
                found += [number_of(lease.payload) for lease in leases]
                store.take((), 0, [Ended(lease, How.DELETED) for lease in leases])
            return found

        workers = [Beside(partial(drain, one), what="a worker that takes jobs") for one in (store, other)]

        assert sorted(n for worker in workers for n in worker.result(2 * LONG)) == list(range(60))

    @needs("delays")
    def test_a_delayed_job_is_never_early(self, store: JobStore, queues: tuple[str, str]) -> None:
        began = time.monotonic()
        store.push(queues[0], [message()], self.step)

        taken = store.take(queues, 1, ())
        [lease] = taken.leases or take(store, queues)
        elapsed = time.monotonic() - began

        assert self.step <= elapsed < self.step + self.late
        assert taken.next_due is None or 0 <= taken.next_due <= self.step + 2
        assert attempts_of(lease.payload, lease.retries) == 1

    def test_whoever_waits_for_news_hears_it_or_comes_back_in_time(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        Beside(lambda: store.wait(queues, 0.2), what="a wait of 0.2 s").result(0.2 + self.late)

        waiting = Beside(lambda: store.wait(queues, 1.0), what="a wait of 1 s, while another pushes")
        other.push(queues[1], [message()], 0)
        waiting.result(LONG)

        assert take(store, queues)

    # operators ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("sizes")
    def test_jobs_are_counted_by_what_they_wait_for(self, store: JobStore, queues: tuple[str, str]) -> None:
        first, second = queues
        store.push(first, [message(n) for n in range(3)], 0)
        if "delays" not in self.lacks:
            store.push(first, [message(3)], 30)
        [_] = take(store, queues)

        wait_for(lambda: store.sizes(first).reserved, what="the count")
        sizes = store.sizes(first)

        assert (sizes.pending, sizes.reserved) == (2, 1)
        assert sizes.delayed == ("delays" not in self.lacks)
        assert sizes.oldest is None or abs(sizes.oldest - time.time()) < LONG
        assert (store.sizes(second).pending, store.sizes(second).reserved) == (0, 0)

    @needs("clear")
    def test_a_queue_is_cleared_and_the_other_is_not(self, store: JobStore, queues: tuple[str, str]) -> None:
        first, second = queues
        store.push(first, [message(n) for n in range(3)], 0)
        store.push(second, [message(9)], 0)

        assert store.clear(first) == 3

        [left] = take(store, queues)
        assert number_of(left.payload) == 9
        assert store.clear(first) == 0

    @needs("two workers", "leases")
    def test_of_jobs_in_hand_those_that_are_not_deleted_outlive_their_worker(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        assert take_now(other, queues) == []
        for queue, number in zip(queues, (1, 2), strict=True):
            store.push(queue, [message(number)], 0)
        [done] = take(store, queues[:1])
        [_] = take(store, queues[1:])
        store.take((), 0, [Ended(done, How.DELETED)])
        store.close()

        again = [*take(other, queues, most=2), *take(other, queues, most=2, seconds=self.lease / 4)]

        assert [number_of(lease.payload) for lease in again] == [2]

    def test_a_store_that_was_closed_has_kept_its_jobs(
        self, connect_store: Callable[[], JobStore], queues: tuple[str, str]
    ) -> None:
        first = connect_store()
        first.push(queues[0], [message(1)], 0)
        first.close()
        second = connect_store()

        [lease] = take(second, queues)

        assert number_of(lease.payload) == 1
        second.close()
