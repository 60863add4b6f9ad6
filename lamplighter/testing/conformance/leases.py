"""What a `JobStore` promises of the jobs that it has given out."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore, Lease
from lamplighter.testing.conformance.asking import again, gather, take, take_now
from lamplighter.testing.conformance.base import Conformance, attempts_of, message, needs, number_of
from lamplighter.testing.waiting import LONG

Losing = Callable[[JobStore], AbstractContextManager[object]]


class OnStores(Conformance):
    """The stores of two workers."""

    @pytest.fixture
    def connect_store(self) -> Callable[[], JobStore]:
        """What makes one more store that has the same jobs, with leases of `lease` seconds."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `connect_store`.")

    @pytest.fixture
    def lose_answers(self) -> Losing | None:
        """What makes a body in which each call of a store takes effect, and raises Unavailable; None where none can."""
        return None

    @pytest.fixture
    def cut(self) -> Callable[[], object] | None:
        """What cuts all connections to the server, which goes on; None where there is none."""
        return None

    @pytest.fixture
    def store(self, connect_store: Callable[[], JobStore]) -> Iterator[JobStore]:
        """The store of one worker."""
        store = connect_store()
        yield store
        store.close()

    @pytest.fixture
    def other(self, connect_store: Callable[[], JobStore]) -> Iterator[JobStore]:
        """The store of another worker."""
        store = connect_store()
        yield store
        store.close()


def die_of(store: JobStore, other: JobStore, queues: tuple[str, str]) -> Lease:
    """Push a job whose worker ends without a word; the next start of it, by another one."""
    assert take_now(other, queues) == []
    store.push(queues[0], [message()], 0)
    [_] = take(store, queues)
    store.close()
    [lease] = take(other, queues)
    return lease


class LeaseConformance(OnStores):
    """Ends, leases, and connections that break; a part of `StoreConformance`."""

    # ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def test_what_ends_and_what_begins_are_told_in_one_call(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message(1), message(2)], 0)
        [first] = take(store, queues)

        [second] = store.take(queues, 1, [Ended(first, How.DELETED)]).leases

        assert {number_of(first.payload), number_of(second.payload)} == {1, 2}
        assert take_now(store, queues, [Ended(second, How.DELETED)]) == []

    @pytest.mark.parametrize("how", How)
    def test_an_end_that_is_told_twice_ends_once(self, store: JobStore, queues: tuple[str, str], how: How) -> None:
        store.push(queues[0], [message()], 0)
        [lease] = take(store, queues)
        end = Ended(lease, how, 0.0)

        kept = [bool(store.take((), 0, [end]).kept) for _ in range(2)]

        is_back = how is not How.DELETED and not any(kept)
        assert len(take(store, queues, most=5, seconds=LONG if is_back else 0.1)) == is_back
        assert take_now(store, queues) == []
        assert kept in ([False, False], [how is How.EXCUSED] * 2)
        assert not any(kept) or not store.renew([lease])

    @needs("delays")
    def test_a_release_counts_its_start_and_is_never_early(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message()], 0)
        [lease] = take(store, queues)
        began = time.monotonic()

        again = store.take(queues, 1, [Ended(lease, How.RELEASED, self.step)]).leases or take(store, queues)

        assert self.step <= time.monotonic() - began < self.step + self.late
        assert [attempts_of(lease.payload, lease.retries) for lease in again] == [2]

    @needs("excuses")
    def test_an_excused_start_does_not_count(self, store: JobStore, queues: tuple[str, str]) -> None:
        store.push(queues[0], [message()], 0)
        [lease] = take(store, queues)

        for _ in range(3):
            [lease] = take(store, queues, ended=[Ended(lease, How.EXCUSED, 0.0)])

        assert attempts_of(lease.payload, lease.retries) == 1
        [lease] = take(store, queues, ended=[Ended(lease, How.RELEASED, 0.0)])
        assert attempts_of(lease.payload, lease.retries) == 2

    @needs("two workers", "excuses")
    def test_what_is_given_back_has_not_been_started(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        store.push(queues[0], [message(1), message(2)], 0)
        [lease] = take(store, queues)
        store.take((), 0, [Ended(lease, How.GIVEN_BACK)])

        [again] = take(other, queues)

        assert attempts_of(again.payload, again.retries) == 1
        assert not again.has_crashed
        if "first again" not in self.lacks and "order" not in self.lacks:
            assert number_of(again.payload) == 1

    # leases ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("two workers", "leases")
    def test_a_lease_that_ran_out_is_anothers_and_its_late_end_changes_nothing(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        assert take_now(other, queues) == []  # it connects before the lease begins: that may take as long as one lasts
        store.push(queues[0], [message(n) for n in range(4)], 0)
        mine = gather(store, queues, 4)
        assert take_now(other, queues) == []  # the leases hold

        theirs = gather(other, queues, 4)
        lost = store.renew(mine)
        store.take((), 0, [Ended(lease, how) for lease, how in zip(mine, How, strict=True)])

        assert set(map(id, lost)) == set(map(id, mine))
        assert [attempts_of(lease.payload, lease.retries) for lease in theirs] == [2] * 4
        assert not other.renew(theirs)
        assert take_now(store, queues) == []
        assert take_now(other, queues, [Ended(lease, How.DELETED) for lease in theirs]) == []

    @needs("two workers", "leases")
    def test_a_lease_that_is_renewed_lasts(self, store: JobStore, other: JobStore, queues: tuple[str, str]) -> None:
        assert take_now(other, queues) == []  # it connects before the lease begins: that may take as long as one lasts
        store.push(queues[0], [message()], 0)
        [lease] = take(store, queues)
        until = time.monotonic() + 1.5 * self.lease

        while time.monotonic() < until:
            assert not store.renew([lease])
            assert take_now(other, queues) == []
            threading.Event().wait(self.lease / 5)

        assert take_now(other, queues, []) == []
        assert take_now(store, queues, [Ended(lease, How.DELETED)]) == []

    # starts that ended without a word ──────────────────────────────────────────────────────────────────────────────

    @needs("two workers", "leases")
    def test_of_a_lease_that_ran_out_it_is_not_said_that_its_worker_lives(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        died = die_of(store, other, queues)

        assert died.has_crashed is not False
        assert attempts_of(died.payload, died.retries) == 2

    @needs("two workers", "leases", "crashes")
    def test_a_worker_that_died_is_told_from_one_that_has_released(
        self, store: JobStore, other: JobStore, queues: tuple[str, str]
    ) -> None:
        died = die_of(store, other, queues)
        other.take((), 0, [Ended(died, How.DELETED)])
        other.push(queues[0], [message()], 0)
        [lease] = take(other, queues)

        [released] = take(other, queues, ended=[Ended(lease, How.RELEASED)])

        assert died.has_crashed
        assert released.has_crashed is False
        assert attempts_of(released.payload, released.retries) == 2

    @needs("two workers", "leases", "excuses")
    @pytest.mark.parametrize("how", [How.EXCUSED, How.GIVEN_BACK])
    def test_a_start_that_does_not_count_leaves_what_is_known_of_those_before(
        self, store: JobStore, other: JobStore, queues: tuple[str, str], how: How
    ) -> None:
        died = die_of(store, other, queues)

        [again] = take(other, queues, ended=[Ended(died, how)])
        [once_more] = take(other, queues, ended=[Ended(again, how)])

        assert again.has_crashed is not False
        assert once_more.has_crashed is not False
        assert attempts_of(once_more.payload, once_more.retries) == 2
        assert take_now(other, queues, [Ended(once_more, How.DELETED)]) == []

    # broken connections ────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_lost_answer_costs_a_job_no_start(
        self, store: JobStore, queues: tuple[str, str], lose_answers: Losing | None
    ) -> None:
        if lose_answers is None:
            pytest.skip("the driver's tests give no `lose_answers`")
        store.push(queues[0], [message(1), message(2)], 0)
        [first] = take(store, queues)
        ended = [Ended(first, How.DELETED)]
        with lose_answers(store), pytest.raises(Unavailable):
            store.take(queues, 1, ended)

        [second] = take(store, queues, ended=ended)

        assert {number_of(lease.payload) for lease in (first, second)} == {1, 2}
        assert attempts_of(second.payload, second.retries) == 1
        assert not second.has_crashed
        assert take_now(store, queues, [Ended(second, How.DELETED)]) == []

    def test_a_connection_that_was_cut_is_made_again(
        self, store: JobStore, queues: tuple[str, str], cut: Callable[[], object] | None
    ) -> None:
        if cut is None:
            pytest.skip("the driver's tests give no `cut`")
        store.push(queues[0], [message(1), message(2)], 0)
        [first] = take(store, queues)
        cut()

        [second] = take(store, queues, ended=[Ended(first, How.DELETED)])
        cut()
        again(lambda: store.renew([second]))
        cut()
        again(lambda: store.push(queues[0], [message(3)], 0))
        [third, *_] = take(store, queues, ended=[Ended(second, How.DELETED)])

        assert number_of(third.payload) == 3
