"""The order in which a store is asked for jobs of queues that have weights."""

from collections import Counter
from collections.abc import Collection

import pytest

from lamplighter.queue.drivers.leasing.store import Lease
from lamplighter.queue.drivers.leasing.turns import Turns


def play(turns: Turns, calls: int, *, most: int = 1, empty: Collection[str] = (), paused: Collection[str] = ()) -> str:
    """The queues that jobs came from in so many calls, each of which had up to `most`."""
    came = ""
    for _ in range(calls):
        order = turns.order(paused)
        found = next((queue for queue in order if queue not in empty), None)
        leases = [] if found is None else [Lease(found, b"", None)] * most
        turns.took(leases)
        came += "".join(lease.queue for lease in leases)
    return came


def test_what_has_more_weight_comes_first_and_more_often() -> None:
    assert play(Turns({"a": 3, "b": 1}), 8) == "aabaaaba"


@pytest.mark.parametrize("most", [2, 5, 16])
def test_shares_are_of_starts_and_not_of_calls(most: int) -> None:
    turns = Turns({"a": 5, "b": 2, "c": 1})

    counts = Counter(play(turns, 10, most=most) + play(turns, 160 - 10 * most % 160, most=1))

    total = sum(counts.values())
    for queue, weight in {"a": 5, "b": 2, "c": 1}.items():
        assert abs(counts[queue] - total * weight / 8) <= most


def test_a_queue_without_jobs_saves_up_nothing() -> None:
    turns = Turns({"a": 1, "b": 1})
    play(turns, 50, empty="b")

    assert play(turns, 6).count("b") == 3


def test_a_queue_without_jobs_is_asked_before_others_now_and_then() -> None:
    turns = Turns({"a": 3, "b": 1})
    first = []
    for _ in range(40):
        order = turns.order(())
        first.append(order[0])
        turns.took([Lease("a", b"", None)])

    assert 10 <= first.count("b") <= 14


def test_a_paused_queue_is_not_asked() -> None:
    turns = Turns({"a": 3, "b": 1})

    assert play(turns, 4, paused={"a"}) == "bbbb"
    assert turns.order({"a", "b"}) == []


def test_what_a_lost_answer_has_begun_of_a_queue_that_is_paused_by_now_changes_nothing() -> None:
    turns = Turns({"a": 3, "b": 1})
    turns.order({"a"})

    turns.took([Lease("a", b"", None)])

    assert turns.order(())[0] == "a"
