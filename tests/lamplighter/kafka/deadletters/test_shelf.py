"""Letters that are still to be dealt with."""

from datetime import UTC, datetime, timedelta

from lamplighter.kafka.deadletters.letter import Letter
from lamplighter.kafka.deadletters.shelf import Shelf
from lamplighter.queue.failed import FailedJob

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def letter(identity: str, id: str | None = None, *, after: float = 0, payload: bytes = b"p") -> Letter:
    """A letter that failed some seconds after noon."""
    at = NOON + timedelta(seconds=after)
    job = FailedJob(id or identity, "kafka", "store", "x", payload, b"k", [("h", None)], "store[0]@1", "boom", at)
    return Letter(identity, job)


def test_letters_are_told_the_newest_first_with_all_they_have() -> None:
    shelf = Shelf()
    shelf.put(letter("a", payload=b"\xff"), 0)
    shelf.put(letter("b", after=1), 1)

    jobs = list(shelf.all())

    assert shelf.ids() == ["b", "a"]
    assert (jobs[1].payload, jobs[1].key, list(jobs[1].headers)) == (b"\xff", b"k", [("h", None)])
    assert jobs[1].failed_at == NOON


def test_a_letter_of_the_same_message_replaces_the_older_one() -> None:
    shelf = Shelf()
    shelf.put(letter("a", payload=b"1"), 0)
    shelf.put(letter("a", payload=b"2", after=1), 0)

    assert [job.payload for job in shelf.all()] == [b"2"]


def test_a_mark_ends_what_stands_before_it_in_its_partition() -> None:
    shelf = Shelf()
    shelf.put(letter("a", "u"), 0)
    shelf.settle("a", 1)
    before = shelf.ids()
    shelf.settle("a", 0)
    after = shelf.ids()
    shelf.put(letter("a", "u", after=1), 0)

    assert (before, after, shelf.ids()) == (["u"], [], ["u"])


def test_a_message_that_failed_in_two_partitions_needs_a_mark_in_each() -> None:
    shelf = Shelf()
    shelf.put(letter("a", "u"), 0)
    shelf.put(letter("a", "u"), 1)
    places = shelf.partitions("a")

    shelf.settle("a", 0)

    assert places == [0, 1]
    assert shelf.identity("u") == "a"


def test_an_id_that_two_messages_claim_costs_neither_of_them() -> None:
    shelf = Shelf()
    shelf.put(letter("a", "u"), 0)
    shelf.put(letter("b", "u", after=1), 0)
    both = shelf.ids()

    shelf.settle("b", 0)

    assert both == ["b", "a"]
    assert (shelf.ids(), shelf.identity("u")) == (["u"], "a")


def test_letters_are_found_by_their_age() -> None:
    shelf = Shelf()
    shelf.put(letter("a"), 0)
    shelf.put(letter("b", after=60), 0)

    assert shelf.identities(until=NOON + timedelta(seconds=30)) == ["a"]


def test_many_letters_do_not_stay_in_memory() -> None:
    shelf = Shelf()
    for number in range(40):
        shelf.put(letter(f"i-{number}", payload=bytes([number]) * 1_000_000, after=number), 0)

    sizes = {job.payload[:1]: len(job.payload) for job in shelf.all()}

    assert len(sizes) == 40
    assert set(sizes.values()) == {1_000_000}
    assert shelf._file.name is not None  # on the disk by now
