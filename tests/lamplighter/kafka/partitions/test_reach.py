"""How far jobs may begin."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.kafka.partitions.reach import LEAST, MOST, Reach


def test_nothing_may_begin_before_a_commit_of_this_owner() -> None:
    reach = Reach(7)

    before = reach.may_begin(7)
    reach.acknowledge(reach.announce())

    assert not before
    assert [reach.may_begin(offset) for offset in (7, 7 + LEAST - 1, 7 + LEAST)] == [True, True, False]


def test_a_wanted_offset_is_announced_however_far_behind_a_gap_it_lies() -> None:
    reach = Reach(0)
    reach.acknowledge(reach.announce())
    reach.begin(3)

    reach.want(1_000_000)
    reach.acknowledge(reach.announce())

    assert reach.may_begin(1_000_000)
    assert reach.begun == 3


def test_a_wanted_offset_says_nothing_of_what_was_begun() -> None:
    reach = Reach(0)
    reach.acknowledge(reach.announce())

    reach.want(500)
    reach.announce()
    reach.begin(10)

    assert reach.begun == 10


def test_the_same_is_announced_while_it_is_far_enough() -> None:
    reach = Reach(0)
    reach.acknowledge(reach.announce())

    reach.begin(LEAST // 2)

    assert reach.announce() == LEAST
    assert not reach.is_short


def test_what_is_announced_is_twice_the_pace_up_to_a_limit() -> None:
    reach = Reach(0)
    margins = []
    for _ in range(12):
        reach.acknowledge(reach.announce())
        margins.append(reach.margin)
        reach.begin(reach.told)

    assert margins[:3] == [LEAST, 2 * LEAST, 4 * LEAST]
    assert margins[-1] == MOST


def test_what_has_arrived_is_announced_at_the_pace_of_the_whole_worker() -> None:
    margins = []
    for arrived, pace in [(0, 2000), (10, 2000), (400, 2000), (3_000, 2000), (3_000, 9_000), (9_000, 9_000)]:
        reach = Reach(0)
        reach.announce(arrived=arrived, pace=pace)
        margins.append(reach.margin)

    assert margins == [LEAST, LEAST, 800, 2000, MOST, MOST]


def test_what_was_begun_is_counted_once() -> None:
    reach = Reach(100)
    reach.begin(107)

    assert [reach.count(), reach.count()] == [7, 0]


@given(steps=st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(["begin", "want", "lost", "taken"]))))
def test_whatever_is_wanted_is_told_with_the_next_commit_that_is_taken(steps: list[tuple[int, str]]) -> None:
    reach, at = Reach(0), 0
    for distance, step in steps:
        if step == "begin" and reach.may_begin(at):
            at = min(at + distance, reach.told - 1) + 1
            reach.begin(at)
        elif step == "want":
            at += distance
            reach.want(at)
        else:
            announced = reach.announce()
            if step == "taken":
                reach.acknowledge(announced)
                assert reach.may_begin(at)
                assert reach.told >= reach.begun
