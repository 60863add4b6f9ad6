"""Who waits behind whom."""

from collections.abc import Hashable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.kafka.scheduling.order import MOST_HELD, Order


@dataclass(eq=False)
class Job:
    """A job with an order key."""

    number: int
    order_key: Hashable
    holds_order: bool = False
    size: int = 10


def test_a_job_waits_for_another_of_its_key_alone() -> None:
    order: Order[Job] = Order("key")
    first, second, other, free = Job(1, b"a"), Job(2, b"a"), Job(3, b"b"), Job(4, None)

    for job in (first, other, free):
        order.hold(job)

    assert [order.must_wait(job) for job in (second, Job(5, b"c"), Job(6, None))] == [True, False, False]


def test_the_next_one_holds_the_key_when_it_is_let_go() -> None:
    order: Order[Job] = Order("key")
    first, second, third = (Job(number, b"a") for number in range(3))
    order.hold(first)
    order.wait(second)
    order.wait(third)

    heir = order.let_go(first)

    assert heir is second
    assert second.holds_order
    assert (order.held, order.held_bytes) == (1, 10)
    assert order.let_go(second) is third
    assert order.let_go(third) is None
    assert not order


def test_two_that_hold_one_key_must_both_be_let_go() -> None:
    order: Order[Job] = Order("key")
    first, second, third = (Job(number, b"a") for number in range(3))
    order.hold(first)
    order.hold(second)
    order.wait(third)

    assert order.let_go(first) is None
    assert order.let_go(second) is third


def test_a_job_that_is_put_back_runs_before_those_that_wait() -> None:
    order: Order[Job] = Order("key")
    first, second, third = (Job(number, b"a") for number in range(3))
    order.hold(first)
    order.hold(second)
    order.wait(third)

    waits = [order.put_back(second), order.put_back(first)]

    assert waits == [False, True]
    assert order.let_go(first) is second
    assert order.let_go(second) is third


def test_too_many_that_wait_and_a_partition_that_is_kept_in_order_let_nothing_begin() -> None:
    by_key: Order[Job] = Order("key")
    by_key.hold(Job(0, b"a"))
    for number in range(MOST_HELD - 1):
        by_key.wait(Job(number, b"a"))
    before = by_key.is_full
    by_key.wait(Job(-1, b"a"))
    whole: Order[Job] = Order("partition")
    whole.hold(Job(0, whole.key_of(None)))

    assert (before, by_key.is_full, whole.is_full) == (False, True, True)


def test_what_is_in_hand_when_all_is_forgotten_can_be_let_go() -> None:
    order: Order[Job] = Order("key")
    first, second = Job(1, b"a"), Job(2, b"a")
    order.hold(first)
    order.wait(second)

    assert order.clear() == 1
    assert order.let_go(first) is None
    assert (order.held, order.held_bytes, bool(order)) == (0, 0, False)


@given(keys=st.lists(st.sampled_from([b"a", b"b", None]), max_size=40), ends=st.lists(st.integers(0, 100), max_size=80))
def test_jobs_of_a_key_run_one_at_a_time_and_in_turn(keys: list[bytes | None], ends: list[int]) -> None:
    order: Order[Job] = Order("key")
    jobs = [Job(number, key) for number, key in enumerate(keys)]
    running: list[Job] = []
    done: list[Job] = []
    arriving = iter(jobs)
    for end in [*ends, *[0] * 2 * len(jobs)]:
        job = next(arriving, None)
        if job is not None:
            if order.must_wait(job):
                order.wait(job)
            else:
                order.hold(job)
                running.append(job)
        if running:
            ended = running.pop(end % len(running))
            done.append(ended)
            heir = order.let_go(ended)
            running += [heir] if heir is not None else []
        held = [job.order_key for job in running if job.order_key is not None]
        assert len(held) == len(set(held))

    assert len(done) == len(jobs)
    for key in (b"a", b"b"):
        numbers = [job.number for job in done if job.order_key == key]
        assert numbers == sorted(numbers)
    assert (order.held, order.held_bytes, bool(order)) == (0, 0, False)
