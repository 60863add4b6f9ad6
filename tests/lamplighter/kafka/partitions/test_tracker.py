"""The finished prefix of a partition, and what its next owner is told: by example, and beside a naive model."""

import base64
import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.kafka.partitions.offset_map import MAX_RAW, Mark, OffsetMap, fits
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.partitions.tracker import Tracker

LIMIT = 4095  # UTF-16 units that a broker takes


def test_nothing_finished_is_no_position() -> None:
    tracker = Tracker()

    tracker.deliver([5, 6])

    assert tracker.position is None


def test_finished_work_beyond_an_open_one_is_not_committed() -> None:
    tracker = Tracker()
    tracker.deliver([5, 6, 9])

    tracker.finish(6)
    tracker.finish(9)

    assert (tracker.position, tracker.ahead, tracker.beyond(10)) == (None, 2, (None, 10, (5,)))


def test_closing_the_gap_commits_all_that_was_finished_behind_it() -> None:
    tracker = Tracker()
    tracker.deliver([5, 6, 9, 12])
    tracker.finish(6)
    tracker.finish(9)

    tracker.finish(5)

    assert (tracker.position, tracker.ahead, tracker.left) == (10, 0, 1)


def test_what_an_earlier_owner_has_finished_is_told_on_before_it_comes_again() -> None:
    tracker = Tracker(OffsetMap(frontier=20, unfinished=(5, 7, 15)))

    tracker.deliver([5, 6, 7])
    early = tracker.beyond(8)
    tracker.finish(5)
    tracker.deliver([8, 9])

    assert early == (None, 20, (5, 7, 15))
    assert tracker.beyond(10) == (7, 20, (7, 15))


def test_what_an_earlier_owner_has_finished_counts_when_its_turn_comes() -> None:
    tracker = Tracker(OffsetMap(frontier=10, unfinished=(5, 7)))
    tracker.deliver([5, 6, 7, 8, 9, 12])

    known = [offset for offset in (5, 6, 7, 8, 9, 12) if tracker.is_known(offset)]
    tracker.finish(5)
    first = tracker.position
    tracker.finish(7)

    assert (known, first, tracker.position) == ([6, 8, 9], 7, 10)


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_the_position_is_always_behind_the_longest_finished_prefix(offsets: set[int], chance: random.Random) -> None:
    delivered = sorted(offsets)
    order = list(delivered)
    chance.shuffle(order)
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


offsets = st.integers(0, 2**40)
marks = st.builds(
    Mark,
    retries=st.integers(0, 2**20),
    due=st.integers(0, 4_102_444_800_000),
    in_hand=st.booleans(),
    has_crashed=st.booleans(),
)


@given(
    position=offsets,
    steps=st.lists(st.integers(0, 3000), max_size=100),
    reach=st.integers(0, 10_000),
    is_clean=st.booleans(),
    marked=st.dictionaries(st.integers(0, 5000), marks, max_size=50),
)
def test_a_handover_survives_the_commit(
    position: int, steps: list[int], reach: int, is_clean: bool, marked: dict[int, Mark]
) -> None:
    unfinished = tuple(sorted({position + sum(steps[: n + 1]) for n in range(len(steps))}))
    frontier = (unfinished[-1] if unfinished else position) + 1
    told = {position + offset: mark for offset, mark in marked.items()}
    handover = OffsetMap(position + reach, is_clean, frontier, unfinished, told)

    text = handover.encode(position)

    assert text.isascii()
    assert OffsetMap.decode(text, position) == handover


@given(deltas=st.lists(st.integers(1, 500), max_size=1500), marked=st.integers(0, 150), chance=st.randoms())
@settings(deadline=None)
def test_what_is_said_to_fit_does(deltas: list[int], marked: int, chance: random.Random) -> None:
    position = 1_000_000_000
    unfinished, at = [], position
    for delta in deltas:
        unfinished.append(at)
        at += delta
    marked = min(marked, len(unfinished))
    told = {offset: Mark(2**20, 4_102_444_800_000, True) for offset in chance.sample(unfinished, marked)}
    handover = OffsetMap(at + 5000, False, at, tuple(unfinished), told, 4_102_444_800_000)

    size = len(handover.encode(position))

    if fits(len(unfinished), at - position, len(told)):
        assert size <= min(3000, LIMIT)
    assert MAX_RAW < LIMIT


def test_more_retries_than_have_room_are_told_as_far_as_they_have() -> None:
    waiting = {offset: Mark(2, 1_800_000_000_000 + offset) for offset in range(600)}
    handover = OffsetMap(700, False, 600, tuple(range(600)), {**waiting, 599: Mark(1, in_hand=True)})

    text = handover.encode(0)

    told = OffsetMap.decode(text, 0)
    assert told is not None
    assert len(text) <= 3000
    assert told.unfinished == handover.unfinished
    # What kills its owner must never be among those that are forgotten.
    assert told.marks == {
        **{offset: waiting[offset] for offset in range(len(told.marks) - 1)},
        599: handover.marks[599],
    }
    assert len(told.marks) > 100


@given(
    texts=st.dictionaries(st.integers(0, 2**40), st.text(max_size=30), min_size=1, max_size=20),
    position=st.integers(0, 1000),
)
def test_what_jobs_have_failed_with_survives_the_commit(texts: dict[int, str], position: int) -> None:
    said = {position + offset: text.encode("utf-8", "backslashreplace").decode() for offset, text in texts.items()}
    told = {offset: Mark(1, failure=text) for offset, text in said.items()}
    handover = OffsetMap(position, True, position, (), {**told, position + 2**41: Mark(2)}, read_ms=2**63 - 1)

    assert OffsetMap.decode(handover.encode(position), position) == handover


def test_failures_take_what_room_is_left() -> None:
    told = {offset: Mark(1, 1_800_000_000_000, failure="x" * 5000) for offset in range(100)}
    handover = OffsetMap(700, False, 100, tuple(range(100)), told, 1_800_000_000_000)

    text = handover.encode(0)

    found = OffsetMap.decode(text, 0)
    assert found is not None
    assert len(text) <= 3000
    assert {offset: mark.retries for offset, mark in found.marks.items()} == dict.fromkeys(range(100), 1)
    assert sum(mark.failure is not None for mark in found.marks.values()) > 50


def test_metadata_of_another_client_is_no_handover() -> None:
    others = (None, "", "hello", "[]", '{"v":1}', "L2.", "L2.!!!!", "L2.AA", "L3.AAAA", "L2." + "////" * 50)

    assert [OffsetMap.decode(text, 0) for text in others] == [None] * len(others)


def test_numbers_that_no_owner_has_written_are_no_offset_map() -> None:
    raw = bytes([0, *[0xFF] * 10, 0x01, 0, 0, 0])
    text = "L2." + base64.b64encode(raw).decode().rstrip("=")

    assert OffsetMap.decode(text, 0) is None


def test_what_lies_beyond_the_end_of_the_log_was_finished_by_nobody() -> None:
    left = OffsetMap(reach=90, is_clean=False, frontier=80, unfinished=(5, 70))
    partition = Partition("kafka", "t", 0, offset=5, metadata=left.encode(5))

    partition.bound(60)

    assert not partition.tracker.is_known(6)
    assert partition.marks.careful_until == 60


@dataclass
class Model:
    """A partition and its owners, kept naively: which offsets exist, which were run, what is committed."""

    log: list[int]
    committed: tuple[int, str] = (0, "")
    runs: dict[int, int] = field(default_factory=dict)
    tracker: Tracker = field(default_factory=Tracker)
    in_hand: list[int] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    to_come: list[int] = field(default_factory=list)
    expected: int = 0

    def assign(self) -> None:
        """A new owner takes over what the last commit says."""
        position, text = self.committed
        known = OffsetMap.decode(text, position) or OffsetMap()
        self.tracker = Tracker(known)
        left = [offset for offset in self.log if offset >= position]
        self.in_hand, self.to_come, self.expected = [], left, position
        self.fetch(len(left) // 3)
        waiting = {offset for offset in left if not self.tracker.is_known(offset)}
        skipped = {offset for offset in self.log if offset < position} | (set(left) - waiting)
        # Nothing is skipped that was not finished, and nothing runs again that a commit said was finished.
        assert skipped == self.told & set(self.log)
        self.finished = set(skipped)

    def fetch(self, count: int) -> None:
        """The next records come."""
        come, self.to_come = self.to_come[:count], self.to_come[count:]
        if come:
            self.tracker.deliver(come)
            self.in_hand += [offset for offset in come if not self.tracker.is_known(offset)]
            self.expected = come[-1] + 1

    def finish(self, index: int) -> None:
        """One of what is in hand comes to its end, and some more come."""
        self.fetch(index % 3)
        if self.in_hand:
            offset = self.in_hand.pop(index % len(self.in_hand))
            self.tracker.finish(offset)
            self.finished.add(offset)
            self.runs[offset] = self.runs.get(offset, 0) + 1

    def commit(self) -> None:
        """The owner's commit is acknowledged."""
        position, frontier, unfinished = self.tracker.beyond(self.expected)
        position = self.committed[0] if position is None else position
        assert position >= self.committed[0]
        self.committed = position, OffsetMap(frontier=frontier, unfinished=unfinished).encode(position)
        self.told = set(self.finished)


@given(
    gaps=st.lists(st.integers(1, 4), min_size=1, max_size=60),
    steps=st.lists(
        st.one_of(st.integers(0, 1000), st.sampled_from(["commit", "crash", "leave", "trimmed"])), max_size=200
    ),
)
@settings(max_examples=300, deadline=None)
def test_owners_that_crash_and_leave_run_everything_and_nothing_that_was_committed_again(
    gaps: list[int], steps: list[Any]
) -> None:
    model = Model([sum(gaps[: n + 1]) for n in range(len(gaps))])
    model.assign()

    for step in steps:
        if isinstance(step, int):
            model.finish(step)
        elif step == "commit":
            model.commit()
        else:
            if step == "leave":
                model.commit()
            if step == "trimmed":
                del model.log[: len(model.log) // 2]
            model.assign()
    model.fetch(len(model.to_come))
    while model.in_hand:
        model.finish(0)
    model.commit()

    assert set(model.runs) >= set(model.log)
    assert model.committed[0] == model.log[-1] + 1
