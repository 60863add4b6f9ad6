"""The finished prefix of a partition."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.kafka.tracker import Mark, Tracker


def test_nothing_finished_is_no_position() -> None:
    tracker = Tracker()

    tracker.deliver([5, 6])

    assert tracker.position is None


def test_finished_work_beyond_an_open_one_is_not_committed() -> None:
    tracker = Tracker()
    tracker.deliver([5, 6, 9])

    tracker.finish(6)
    tracker.finish(9)

    assert tracker.position is None


def test_closing_the_gap_commits_all_that_was_finished_behind_it() -> None:
    tracker = Tracker()
    tracker.deliver([5, 6, 9, 12])
    tracker.finish(6)
    tracker.finish(9)

    tracker.finish(5)

    assert tracker.position == 10


def test_a_message_that_was_fetched_twice_does_not_move_the_position_back() -> None:
    tracker = Tracker()
    tracker.deliver([5, 6, 5, 6, 7])

    positions = []
    for offset in (5, 6, 5, 6, 7):
        tracker.finish(offset)
        positions.append(tracker.position)

    assert positions == [6, 7, 7, 7, 8]


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_the_position_is_always_behind_the_longest_finished_prefix(offsets: set[int], random: object) -> None:
    delivered = sorted(offsets)
    order = list(delivered)
    random.shuffle(order)  # type: ignore[attr-defined]
    tracker = Tracker()
    tracker.deliver(delivered)
    finished: set[int] = set()

    for offset in order:
        tracker.finish(offset)
        finished.add(offset)
        prefix = []
        for known in delivered:
            if known not in finished:
                break
            prefix.append(known)

        assert tracker.position == (prefix[-1] + 1 if prefix else None)


def test_a_mark_survives_the_commit() -> None:
    mark = Mark(retries=3, due=1795399635.125)

    assert Mark.decode(mark.encode()) == mark


def test_a_mark_is_short_ascii() -> None:
    assert Mark(retries=2**31, due=4_000_000_000.123).encode().isascii()


def test_metadata_of_another_client_is_no_mark() -> None:
    assert [Mark.decode(text) for text in (None, "", "hello", "[]", "{}", '{"v":9}', '{"v":1,"retries":"x"}')] == [
        None
    ] * 7
