"""Letters that are still to be dealt with."""

from datetime import UTC, datetime, timedelta

import pytest

from lamplighter.kafka.deadletters.letter import Letter
from lamplighter.kafka.deadletters.letter_index import LetterIndex
from lamplighter.queue.failed import FailedJob, Wanted

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def index() -> LetterIndex:
    """An empty one."""
    return LetterIndex("kafka")


def letter(identity: str, id: str | None = None, *, after: float = 0, payload: bytes = b"p") -> Letter:
    """A letter that failed some seconds after noon."""
    job = FailedJob(
        id=id or identity,
        connection="kafka",
        queue="store",
        origin="store[0]@1",
        failed_at=NOON + timedelta(seconds=after),
        name="x",
        payload=payload,
        key=b"k",
        headers=[("h", None)],
        exception="boom",
    )
    return Letter(identity, job)


def ids(index: LetterIndex) -> list[str]:
    """What the letters are called, the newest first."""
    return [record.id for record in index.records()]


def payloads(index: LetterIndex) -> list[bytes]:
    """What is in them, the newest first."""
    return [job.payload for job in index.read([*index.records()])]


def test_letters_are_told_the_newest_first_with_all_they_have(index: LetterIndex) -> None:
    index.put(letter("a", payload=b"\xff"), 0, 5)
    index.put(letter("b", after=1), 1, 5)

    records = [*index.records()]
    jobs = list(index.read(records))

    assert [job.id for job in jobs] == [record.id for record in records] == ["b", "a"]
    assert (jobs[1].payload, jobs[1].key, list(jobs[1].headers)) == (b"\xff", b"k", [("h", None)])
    assert jobs[1].failed_at == records[1].failed_at == NOON
    assert jobs[1].without_message() == records[1]


def test_a_letter_of_the_same_message_replaces_the_older_one(index: LetterIndex) -> None:
    index.put(letter("a", payload=b"1"), 0, 5)
    index.put(letter("a", payload=b"2", after=1), 0, 6)

    assert payloads(index) == [b"2"]


def test_a_mark_ends_what_stands_before_it_in_its_partition(index: LetterIndex) -> None:
    index.put(letter("a", "u"), 0, 5)
    index.settle("a", 1, until=9)
    before = ids(index)
    index.settle("a", 0, until=9)
    after = ids(index)
    index.put(letter("a", "u", after=1), 0, 10)

    assert (before, after, ids(index)) == (["u"], [], ["u"])


def test_a_mark_ends_no_letter_that_came_after_the_one_that_was_read(index: LetterIndex) -> None:
    index.put(letter("a", payload=b"1"), 0, 5)
    [read] = index.records()
    index.put(letter("a", payload=b"2", after=1), 0, 7)

    index.settle("a", 0, until=5)

    assert payloads(index) == [b"2"]
    assert list(index.read([read])) == []


def test_a_message_that_failed_in_two_partitions_needs_a_mark_in_each(index: LetterIndex) -> None:
    index.put(letter("a", "u"), 0, 5)
    index.put(letter("a", "u"), 1, 8)
    [record] = index.records()

    index.settle("a", 0, until=5)

    assert record.version.offsets == ((0, 5), (1, 8))
    assert ids(index) == ["u"]


def test_the_first_letter_of_a_partition_keeps_the_id_that_others_ask_for(index: LetterIndex) -> None:
    index.put(letter("b", "u", after=1), 0, 5)
    alone = ids(index)
    index.put(letter("a", "u"), 0, 6)  # by a clock that is behind
    both = ids(index)
    index.put(letter("b", "u", after=2), 0, 7)
    again = ids(index)

    assert (alone, both, again) == (["u"], ["u", "a"], ["u", "a"])


def test_a_letter_keeps_its_name_when_the_id_that_it_asks_for_is_free_again(index: LetterIndex) -> None:
    index.put(letter("a", "u"), 0, 5)
    index.put(letter("b", "u", after=1), 0, 6)

    index.settle("a", 0, until=5)
    freed = ids(index)
    index.put(letter("b", "u", after=2), 0, 7)
    index.put(letter("c", "u", after=3), 0, 8)

    assert (freed, ids(index)) == (["b"], ["c", "b"])


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_partitions_the_letter_that_failed_first_has_the_id_in_whatever_order_they_are_read(
    index: LetterIndex, order: tuple[str, str]
) -> None:
    letters = {"a": (letter("a", "u"), 0, 5), "b": (letter("b", "u", after=1), 1, 5)}
    for each in order:
        index.put(*letters[each])

    assert ids(index) == ["b", "u"]
    assert [record.version.identity for record in index.records(ids=["u"])] == ["a"]


def test_a_sender_that_takes_the_identity_of_another_letter_gets_its_own(index: LetterIndex) -> None:
    index.put(letter("b", "a"), 0, 5)
    index.put(letter("a", "u", after=1), 0, 6)

    assert ids(index) == ["u", "b"]


def test_letters_are_found_by_their_age(index: LetterIndex) -> None:
    index.put(letter("a"), 0, 5)
    index.put(letter("b", after=60), 0, 6)

    assert [record.id for record in index.records(Wanted(until=NOON + timedelta(seconds=30)))] == ["a"]


def test_many_letters_do_not_stay_in_memory(index: LetterIndex) -> None:
    for number in range(40):
        index.put(letter(f"i-{number}", payload=bytes([number]) * 1_000_000, after=number), 0, number)

    sizes = {payload[:1]: len(payload) for payload in payloads(index)}

    assert len(sizes) == 40
    assert set(sizes.values()) == {1_000_000}
    assert index._file.name is not None  # on the disk by now
