"""Which delivery comes next."""

import time
from collections.abc import Iterable

import pytest

from lamplighter.errors import LamplighterError, OrderBlocked
from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.partitions.reach import LEAST, MOST
from lamplighter.kafka.scheduling.backlog import MOST_AHEAD, Backlog
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.order import MOST_HELD, Ordering
from lamplighter.kafka.scheduling.scheduler import Scheduler
from tests.harness import wait_for
from tests.lamplighter.kafka.records import record


class Bench:
    """Partitions whose commits are acknowledged when a test says so."""

    def __init__(self, scheduler: Scheduler | None = None, *, ordering: Ordering = "key") -> None:
        self.scheduler = scheduler or Scheduler({"t": 1}, ordering=ordering)

    def partition(
        self,
        *keys: str | None,
        topic: str = "t",
        number: int = 0,
        start: int = 0,
        left: OffsetMap | None = None,
        is_open: bool = True,
    ) -> Partition:
        """A partition that has been given a message for each key."""
        metadata = left.encode(start) if left else None
        partition = Partition("kafka", topic, number, offset=start, metadata=metadata)
        self.arrive(partition, start, *keys)
        if is_open:
            self.commit(partition)
        return partition

    def arrive(self, partition: Partition, start: int, *keys: str | None) -> None:
        """Further messages of a partition."""
        messages = [record(start + n, key=None if key is None else key.encode(), epoch=0) for n, key in enumerate(keys)]
        chunk = partition.receive(messages)
        if chunk or partition.marks:
            self.scheduler.arrived(partition, chunk)

    def read_to(self, partition: Partition, offset: int) -> None:
        """A partition was read to its end."""
        partition.read_to(offset)
        self.scheduler.look_at(partition)

    def lose(self, partition: Partition) -> None:
        """A partition is another's."""
        partition.is_open = False
        partition.lost = True
        self.scheduler.look_at(partition)

    def give_away(self, partition: Partition) -> None:
        """A partition is to be another's, when what is in hand of it has come to its end."""
        partition.is_open = False
        self.scheduler.look_at(partition)

    @staticmethod
    def backlog(partition: Partition) -> Backlog:
        """What of a partition is not finished."""
        assert isinstance(partition.backlog, Backlog)
        return partition.backlog

    def commit(self, *partitions: Partition, is_last: bool = False) -> None:
        """Commit, and have it acknowledged."""
        for partition in partitions:
            partition.wants_commit = False
            news = partition.news(is_last=is_last)
            if news is not None:
                partition.acknowledge(news)
                self.scheduler.look_at(partition)

    def pop(self) -> KafkaDelivery:
        """The next delivery, which must be there."""
        delivery = self.scheduler.pop()
        assert delivery is not None
        return delivery

    def offsets(self, count: int) -> list[int]:
        """Pop and finish so many."""
        found = []
        for _ in range(count):
            delivery = self.pop()
            found.append(delivery.offset)
            delivery.delete()
        return found

    def kept(self, count: int) -> list[KafkaDelivery]:
        """Pop so many, and keep them in hand."""
        found = []
        for _ in range(count):
            delivery = self.pop()
            delivery.keep()
            found.append(delivery)
        return found

    def kept_together(self, count: int) -> list[KafkaDelivery]:
        """Pop so many, and keep them when all are in hand."""
        found = [self.pop() for _ in range(count)]
        for delivery in found:
            delivery.keep()
        return found


def offsets(deliveries: Iterable[KafkaDelivery]) -> list[int]:
    """Where they stand."""
    return [delivery.offset for delivery in deliveries]


def test_nothing_begins_before_the_broker_knows_of_the_owner() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", is_open=False)

    before = bench.scheduler.pop()
    wanted = partition.wants_commit
    bench.commit(partition)

    assert (before, wanted) == (None, True)
    assert bench.offsets(2) == [0, 1]


def test_jobs_run_no_further_than_a_commit_has_announced() -> None:
    bench = Bench()
    partition = bench.partition(*["a"] * 1000)

    first = bench.offsets(LEAST)
    stopped = bench.scheduler.pop()
    wanted = partition.wants_commit
    bench.commit(partition)
    second = bench.offsets(2 * LEAST)

    assert first == list(range(LEAST))
    assert (stopped, wanted) == (None, True)
    assert second[-1] == 3 * LEAST - 1


def test_what_is_announced_grows_with_the_pace_up_to_its_limit() -> None:
    bench = Bench()
    partition = bench.partition(*["a"] * 40_000)

    for _ in range(12):
        while (delivery := bench.scheduler.pop()) is not None:
            delivery.delete()
        bench.commit(partition)

    assert partition.reach.margin == MOST


def test_a_gap_in_the_offsets_stops_nothing() -> None:
    bench = Bench()
    partition = bench.partition("a")
    bench.arrive(partition, 1_000_000, "b")
    bench.offsets(1)

    stopped = bench.scheduler.pop()
    bench.commit(partition)

    assert stopped is None
    assert bench.offsets(1) == [1_000_000]


def test_by_key_a_job_in_hand_holds_back_its_key_alone() -> None:
    bench = Bench()
    bench.partition("a", "a", "b", "a", None, None)

    first, second, third, fourth = bench.kept(4)
    nothing = bench.scheduler.pop()
    first.delete()
    heir = bench.pop()

    assert offsets([first, second, third, fourth]) == [0, 2, 4, 5]
    assert nothing is None
    assert heir.offset == 1


def test_by_partition_a_job_in_hand_holds_back_its_partition() -> None:
    bench = Bench(ordering="partition")
    bench.partition("a", "b")
    bench.partition("a", number=1)

    first, second = bench.kept(2)
    nothing = bench.scheduler.pop()
    first.delete()

    assert {str(first.partition), str(second.partition)} == {"t[0]", "t[1]"}
    assert nothing is None
    assert bench.pop().offset == 1


def test_without_an_order_nothing_holds_back_anything() -> None:
    bench = Bench(ordering="none")
    bench.partition("a", "a", "a")

    assert offsets(bench.kept(3)) == [0, 1, 2]


def test_a_retry_waits_in_its_place_and_its_key_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.partition("a", "a", "b")
    bench.pop().release(60)

    others = bench.offsets(1)
    nothing = bench.scheduler.pop()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    again = bench.pop()
    again.delete()

    assert (others, nothing) == ([2], None)
    assert (again.offset, again.retries) == (0, 1)
    assert bench.offsets(1) == [1]


def test_a_service_that_is_away_spares_what_comes_next_the_attempt() -> None:
    bench = Bench()
    bench.partition("a", "b")
    first = bench.pop()

    first.release(0, counted=False)
    again = bench.pop()
    nothing = bench.scheduler.pop()
    again.delete()

    assert (again.offset, again.retries, again.excused) == (0, 0, 1)
    assert nothing is None
    assert bench.offsets(1) == [1]


def test_a_job_that_is_tried_again_at_once_leaves_turns_to_others() -> None:
    bench = Bench()
    bench.partition("a", "b", "c", "d")
    found = []
    for _ in range(7):
        delivery = bench.pop()
        found.append(delivery.offset)
        if delivery.offset == 0:
            delivery.release(0)
        else:
            delivery.delete()

    assert found == [0, 0, 0, 1, 0, 2, 0]


def test_what_is_held_back_has_a_limit() -> None:
    bench = Bench()
    partition = bench.partition("a")
    slow = bench.kept(1)[0]
    for start in range(1, 3001, 100):
        bench.arrive(partition, start, *["a"] * 100)

    for _ in range(40):
        bench.scheduler.pop()
        bench.commit(partition)

    assert bench.backlog(partition).held == MOST_HELD
    assert bench.backlog(partition).is_closed
    slow.delete()
    assert bench.offsets(1) == [1]


def test_the_commit_has_room_for_what_is_finished_beyond_its_prefix() -> None:
    bench = Bench(ordering="none")
    partition = bench.partition("a")
    slow = bench.kept(1)
    bench.arrive(partition, 1, *["b"] * 60_000)
    sizes = []
    while (delivery := bench.scheduler.pop()) is not None or partition.wants_commit:
        if delivery is None:
            bench.commit(partition)
            sizes.append(len(partition.committed[1]))
        elif delivery.offset % 100 == 1:
            delivery.keep()
            slow.append(delivery)
        else:
            delivery.delete()

    assert bench.backlog(partition).is_closed
    assert len(slow) > 100
    assert max(sizes) <= 3000
    assert partition.tracker.ahead == MOST_AHEAD


def test_more_than_the_metadata_could_tell_is_never_in_hand() -> None:
    bench = Bench(ordering="none")
    partition = bench.partition(*[None] * 4 * MOST)
    in_hand: list[KafkaDelivery] = []
    while partition.wants_commit or not in_hand:
        bench.commit(partition)
        while (delivery := bench.scheduler.pop()) is not None:
            delivery.keep()
            in_hand.append(delivery)

    in_hand[-1].delete()
    bench.commit(partition)

    assert 2000 < len(in_hand) < MOST
    assert len(partition.committed[1]) <= 3000


def test_what_is_finished_beyond_the_prefix_does_not_run_under_the_next_owner() -> None:
    bench = Bench(ordering="none")
    partition = bench.partition("a", "b", "c", "d")
    slow, *others = bench.kept(3)
    for delivery in others:
        delivery.delete()
    bench.commit(partition, is_last=True)
    position, text = partition.committed

    heir = Bench(ordering="none")
    heir.partition("a", "b", "c", "d", start=position, left=OffsetMap.decode(text, position))

    assert (slow.offset, position) == (0, 0)
    assert heir.offsets(2) == [0, 3]
    assert heir.scheduler.pop() is None


def test_retries_and_due_times_are_left_to_the_next_owner() -> None:
    bench = Bench()
    partition = bench.partition("a", "b")
    bench.pop().release(60)
    bench.commit(partition, is_last=True)
    position, text = partition.committed

    heir = Bench()
    heir.partition("a", "b", start=position, left=OffsetMap.decode(text, position))
    other = heir.pop()

    assert other.offset == 1
    assert heir.scheduler.next_due() > time.monotonic() + 50
    assert heir.scheduler.pop() is None


def test_a_failure_that_is_still_to_be_recorded_is_left_to_every_next_owner_and_counts_nothing() -> None:
    bench = Bench()
    partition = bench.partition("a")
    first = bench.pop()
    first.failure = KeyError("what went wrong")
    first.release(0)
    bench.commit(partition, is_last=True)

    seen = []
    for _ in range(3):
        position, text = partition.committed
        heir = Bench()
        partition = heir.partition("a", start=position, left=OffsetMap.decode(text, position))
        popped: list[KafkaDelivery | None] = []
        wait_for(lambda heir=heir, popped=popped: popped.append(heir.scheduler.pop()) or popped[-1])  # type: ignore[misc]
        again = popped[-1]
        assert again is not None
        seen.append((again.retries, again.has_crashed, type(again.failure).__name__, str(again.failure)))
        again.release(0, counted=False)
        heir.commit(partition, is_last=True)

    assert seen == [(1, False, "KeyError", "'what went wrong'")] * 3


@pytest.mark.parametrize("text", ["", "|", "a|b", "builtins|Key\x00Error|x", "a.b|1c|x", "\ufffd|a|b", "|KeyError|x"])
def test_whatever_stands_for_a_failure_is_one(text: str) -> None:
    left = OffsetMap(reach=2, marks={0: Mark(1, failure=text)})
    bench = Bench()
    bench.partition("a", "b", left=left)

    assert isinstance(bench.pop().failure, LamplighterError)


def test_what_retention_has_taken_is_waited_for_no_more() -> None:
    left = OffsetMap(frontier=6, unfinished=(1, 4), marks={1: Mark(1), 4: Mark(2, in_hand=True), 7: Mark(3)})
    bench = Bench()
    partition = Partition("kafka", "t", 0, offset=1, metadata=left.encode(1))

    bench.arrive(partition, 5, "a")  # which is done; 1 and 4 are gone
    bench.commit(partition)
    known = partition.committed[0]
    bench.arrive(partition, 6, "b")
    bench.pop().delete()
    bench.commit(partition)

    assert (known, partition.committed[0], partition.marks.snapshot(0, is_last=False)) == (6, 7, {7: Mark(3)})


def test_what_an_earlier_owner_has_finished_is_committed_though_it_has_not_come_again() -> None:
    bench = Bench()
    left_before = OffsetMap(frontier=9, unfinished=(1, 4), marks={4: Mark(1)}, read_ms=5)
    partition = Partition("kafka", "t", 0, offset=1, metadata=left_before.encode(1))

    bench.arrive(partition, 1, "a", "b")
    bench.commit(partition)
    bench.pop().delete()
    bench.commit(partition)
    position, text = partition.committed
    told = OffsetMap.decode(text, position)

    assert told is not None
    assert (position, told.frontier, told.unfinished, told.marks) == (3, 9, (4,), {4: Mark(1)})


def test_a_log_that_was_made_anew_has_no_retries_of_the_old_one() -> None:
    left = OffsetMap(frontier=9, unfinished=(5,), marks={5: Mark(2)})
    bench = Bench()
    partition = Partition("kafka", "t", 0, offset=5, metadata=left.encode(5))

    bench.arrive(partition, 0, *["a"] * 6)
    bench.commit(partition)

    assert [bench.pop().retries for _ in range(6)] == [0] * 6
    assert not partition.marks


def test_what_is_never_delivered_is_committed_when_all_before_it_is_finished() -> None:
    bench = Bench()
    partition = bench.partition("a", "b")
    first, second = bench.kept(2)

    bench.read_to(partition, 4)  # behind the two, markers of transactions
    second.delete()
    bench.commit(partition)
    before = partition.committed[0]
    first.delete()
    bench.commit(partition)

    assert (before, partition.committed[0]) == (0, 4)


def test_a_commit_behind_markers_is_taken_back_by_no_later_job() -> None:
    bench = Bench()
    partition = bench.partition("a")
    bench.offsets(1)
    bench.read_to(partition, 4)
    bench.commit(partition)

    bench.arrive(partition, 4, "a", "b")
    bench.kept(2)[1].delete()
    bench.commit(partition)

    position, text = partition.committed
    told = OffsetMap.decode(text, position)
    assert told is not None
    assert (position, told.frontier, told.unfinished) == (4, 6, (4,))


def test_a_partition_of_which_nothing_comes_but_its_end_is_committed_there() -> None:
    partition = Partition("kafka", "t", 0, offset=3, metadata=OffsetMap().encode(3))

    partition.read_to(5)
    news = partition.news()

    assert news is not None
    assert news.position == 5


def test_behind_a_crash_that_left_nothing_to_do_nothing_is_careful() -> None:
    text = OffsetMap(reach=40, is_clean=False).encode(3)
    bench = Bench()
    partition = Partition("kafka", "t", 0, offset=3, metadata=text)

    bench.read_to(partition, 3)
    bench.commit(partition, is_last=True)
    left = OffsetMap.decode(partition.committed[1], 3)
    bench.arrive(partition, 3, "a", "b")
    bench.commit(partition)
    beside = bench.kept(2)

    assert left is not None
    assert left.is_clean
    assert [delivery.has_crashed for delivery in beside] == [False, False]


def test_a_retry_that_is_gone_is_forgotten_at_the_end_of_the_log() -> None:
    bench = Bench()
    partition = bench.partition("a", left=OffsetMap(marks={2: Mark(1)}))
    bench.offsets(1)

    bench.read_to(partition, 4)
    bench.scheduler.pop()
    bench.commit(partition)

    assert (len(partition.marks), partition.committed[0]) == (0, 4)


def test_a_retry_of_a_log_that_was_cut_off_and_is_empty_since_is_forgotten() -> None:
    bench = Bench()
    partition = Partition("kafka", "t", 0, offset=0, metadata=OffsetMap(marks={0: Mark(1)}).encode(0))
    partition.begin_at(0)

    bench.read_to(partition, 1)
    bench.scheduler.pop()
    bench.commit(partition)

    assert (len(partition.marks), partition.committed[0]) == (0, 1)


def test_a_partition_that_waited_for_a_service_announces_what_lies_behind_a_gap() -> None:
    bench = Bench()
    partition = bench.partition("a")
    bench.pop().release(0, counted=False)
    bench.arrive(partition, 10_000, "b")
    again = bench.pop()
    spared = bench.scheduler.pop()

    again.delete()
    stopped = bench.scheduler.pop()
    bench.commit(partition)

    assert (again.offset, spared, stopped) == (0, None, None)
    assert bench.offsets(1) == [10_000]


def test_what_waited_behind_another_job_runs_when_the_service_is_back() -> None:
    bench = Bench()
    bench.partition("a", "a", "b")
    first, third = bench.kept(2)
    third.release(0, counted=False)
    first.delete()
    third = bench.pop()
    third.keep()
    nothing = bench.scheduler.pop()

    third.delete()

    assert (third.offset, nothing) == (2, None)
    assert bench.offsets(1) == [1]


def test_it_is_not_empty_while_a_record_waits_for_a_commit() -> None:
    bench = Bench()
    partition = bench.partition("a", is_open=False)

    bench.scheduler.pop()
    before = bench.scheduler.is_empty
    bench.commit(partition)
    bench.offsets(1)
    bench.scheduler.pop()

    assert (before, bench.scheduler.is_empty) == (False, True)


def test_a_partition_that_is_given_away_begins_nothing_and_waits_for_what_is_in_hand() -> None:
    bench = Bench()
    partition = bench.partition("a", "a", "b", "c")
    first, second, third = bench.pop(), bench.pop(), bench.pop()
    first.release(60)
    second.put_back()
    third.keep()

    bench.give_away(partition)
    nothing = bench.scheduler.pop()
    before = partition.has_left
    third.delete()

    assert nothing is None
    assert (before, partition.has_left) == (False, True)


def test_a_solo_worker_that_pops_again_has_nothing_in_hand_of_a_partition_that_is_given_away() -> None:
    bench = Bench()
    partition = bench.partition("a", "b")
    only = bench.pop()

    bench.give_away(partition)
    before = partition.has_left
    only.delete()
    bench.scheduler.pop()

    assert (before, partition.has_left) == (False, True)


# careful ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

CRASHED = OffsetMap(reach=2, is_clean=False)


def test_behind_a_crash_each_job_of_the_window_is_announced_before_it_starts() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", "c", left=CRASHED)

    before = bench.scheduler.pop()
    bench.commit(partition)
    first = bench.pop()
    told = OffsetMap.decode(partition.committed[1], 0)
    beside = bench.scheduler.pop()
    first.delete()
    bench.scheduler.pop()
    bench.commit(partition)
    second = bench.pop()
    second.delete()

    assert before is None
    assert (first.offset, told.marks if told else None) == (0, {0: Mark(1, in_hand=True)})
    assert beside is None
    assert second.offset == 1
    # Behind the window it goes on at full speed.
    assert bench.offsets(1) == [2]
    assert not partition.marks


def test_a_job_that_its_worker_died_with_counts_that_start() -> None:
    left = OffsetMap(reach=2, is_clean=False, marks={0: Mark(2, in_hand=True)})
    bench = Bench()
    partition = bench.partition("a", "b", left=left)

    bench.scheduler.pop()
    bench.commit(partition)
    suspect = bench.pop()

    assert (suspect.retries, suspect.has_crashed) == (2, True)
    told = OffsetMap.decode(partition.committed[1], 0)
    assert told is not None
    assert told.marks[0] == Mark(3, in_hand=True, has_crashed=True)


def test_the_end_of_a_suspect_is_told_at_once() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", left=OffsetMap(reach=1, is_clean=False))
    bench.scheduler.pop()
    bench.commit(partition)
    suspect = bench.pop()

    suspect.delete()

    assert partition.wants_commit


def test_a_suspect_runs_when_nothing_else_is_in_hand() -> None:
    bench = Bench()
    bench.partition("x", number=1)
    neighbour = bench.kept(1)[0]
    suspicious = bench.partition("a", "b", left=CRASHED)

    waits = [bench.scheduler.pop(), bench.scheduler.pop()]
    neighbour.delete()
    bench.scheduler.pop()
    bench.commit(suspicious)

    assert waits == [None, None]
    assert bench.pop().offset == 0


def test_a_suspect_runs_before_what_has_come_from_other_partitions() -> None:
    bench = Bench()
    careful = bench.partition("x", "y", number=1, left=CRASHED)
    left = OffsetMap(reach=2, is_clean=False, marks={0: Mark(1, in_hand=True)})
    bench.scheduler.pop()
    bench.commit(careful)
    first = bench.pop()
    suspicious = bench.partition("a", "b", left=left)

    first.delete()
    bench.commit(careful)
    bench.scheduler.pop()
    bench.commit(suspicious, careful)
    second = bench.pop()
    second.delete()
    bench.commit(suspicious, careful)
    bench.scheduler.pop()
    bench.commit(suspicious, careful)
    third = bench.pop()

    assert (str(first.partition), first.offset) == ("t[1]", 0)
    assert (str(second.partition), second.offset, second.has_crashed) == ("t[0]", 0, True)
    assert third.offset == 1


SUSPECT = OffsetMap(reach=3, is_clean=False, marks={0: Mark(1, in_hand=True)})


def test_suspects_run_first_though_all_partitions_wait_for_the_same_commit() -> None:
    bench = Bench()
    partitions = [
        bench.partition("a", "b", "c", number=number, left=SUSPECT if number in (1, 2) else CRASHED, is_open=False)
        for number in range(4)
    ]
    for partition in partitions:
        bench.arrive(partition, 3, "d", "e", "f")
    assert bench.scheduler.pop() is None
    bench.commit(*partitions)

    order = []
    for _ in range(3):
        bench.scheduler.pop()
        bench.commit(*partitions)
        delivery = bench.pop()
        order.append((delivery.partition.number, delivery.offset, delivery.has_crashed))
        delivery.delete()

    assert {order[0], order[1]} == {(1, 0, True), (2, 0, True)}
    assert not order[2][2]


def test_a_suspect_runs_before_what_follows_another_in_its_chunk() -> None:
    bench = Bench()
    suspicious = [bench.partition(*"abcdef", number=number, left=SUSPECT) for number in range(2)]

    order = []
    for _ in range(3):
        bench.scheduler.pop()
        bench.commit(*suspicious)
        delivery = bench.pop()
        order.append((delivery.partition.number, delivery.offset))
        delivery.delete()

    assert set(order[:2]) == {(0, 0), (1, 0)}
    assert order[2][1] == 1


def test_a_suspect_runs_before_what_has_more_weight() -> None:
    bench = Bench(Scheduler({"high": 8, "low": 1}))
    bench.partition(*["a"] * 20, topic="high")
    low = bench.partition("b", "c", topic="low", left=SUSPECT)

    bench.scheduler.pop()
    bench.commit(low)
    first = bench.pop()
    first.delete()
    bench.commit(low)

    assert (first.queue, first.has_crashed) == ("low", True)
    assert bench.pop().queue == "high"


def in_company(has_further_start: bool = True, *, slots: int = 3) -> Bench:
    """Lanes of a worker whose jobs may be started once more, or may not."""
    return Bench(Scheduler({"t": 1}, has_further_start=lambda delivery: has_further_start, slots=slots))


def begun(bench: Bench, partition: Partition) -> KafkaDelivery | None:
    """The next delivery that is begun, when the brokers know of it, and kept in hand."""
    if bench.scheduler.pop() is not None:
        raise AssertionError("begun before it was told")
    bench.commit(partition)
    delivery = bench.scheduler.pop()
    if delivery is not None:
        delivery.keep()
    return delivery


def test_jobs_behind_a_crash_run_beside_each_other_where_they_have_a_further_start() -> None:
    bench = in_company()
    partition = bench.partition("a", "b", "c", left=CRASHED)

    first, second = begun(bench, partition), begun(bench, partition)
    told = OffsetMap.decode(partition.committed[1], 0)
    third = bench.pop()

    assert first is not None
    assert second is not None
    assert (first.offset, second.offset, third.offset) == (0, 1, 2)
    assert told is not None
    assert told.marks == {0: Mark(1, in_hand=True), 1: Mark(1, in_hand=True)}


def test_no_more_jobs_are_announced_behind_a_crash_than_there_are_slots() -> None:
    bench = in_company(slots=2)
    partition = bench.partition("a", "b", "c", left=OffsetMap(reach=3, is_clean=False))

    # Whether a job is kept since it runs or since its pushes are on their way makes no difference.
    first, second = begun(bench, partition), begun(bench, partition)
    waits = begun(bench, partition)
    assert first is not None
    first.delete()
    third = begun(bench, partition)

    assert second is not None
    assert waits is None
    assert third is not None
    assert third.offset == 2


def test_jobs_behind_a_crash_keep_the_order_of_their_key_beside_each_other() -> None:
    bench = in_company()
    partition = bench.partition("a", "a", "b", left=OffsetMap(reach=3, is_clean=False))

    first, third = begun(bench, partition), begun(bench, partition)

    assert first is not None
    assert third is not None
    assert (first.offset, third.offset) == (0, 2)
    first.delete()
    second = begun(bench, partition)
    assert second is not None
    assert second.offset == 1


@pytest.mark.parametrize("has_further_start", [True, False])
def test_before_it_is_failed_a_suspect_runs_alone(has_further_start: bool) -> None:
    bench = in_company(has_further_start)
    marks = {0: Mark(1, in_hand=True), 1: Mark(1, in_hand=True)} if has_further_start else {}
    partition = bench.partition("a", "b", left=OffsetMap(reach=2, is_clean=False, marks=marks))

    first = begun(bench, partition)
    beside = begun(bench, partition)
    assert first is not None
    first.delete()
    bench.commit(partition)
    second = begun(bench, partition)

    assert beside is None
    assert second is not None
    assert (first.offset, second.offset) == (0, 1)


def test_one_that_has_to_be_alone_waits_for_those_that_need_not() -> None:
    bench = in_company()
    partition = bench.partition("a", "b", left=OffsetMap(reach=2, is_clean=False, marks={1: Mark(1, in_hand=True)}))

    first = begun(bench, partition)
    beside = begun(bench, partition)
    assert first is not None
    first.delete()
    second = begun(bench, partition)

    assert beside is None
    assert second is not None
    assert (second.offset, second.has_crashed) == (1, True)


def test_an_owner_that_leaves_in_order_blames_nothing_that_is_in_hand() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", left=CRASHED)
    bench.scheduler.pop()
    bench.commit(partition)
    bench.pop()

    bench.commit(partition, is_last=True)
    told = OffsetMap.decode(partition.committed[1], 0)

    assert told is not None
    # The rest of the window is not done: the next owner works it carefully.
    assert (told.is_clean, dict(told.marks)) == (False, {})


def left_by(bench: Bench, partition: Partition) -> OffsetMap:
    """What an owner tells that leaves in order."""
    bench.commit(partition, is_last=True)
    told = OffsetMap.decode(partition.committed[1], partition.committed[0])
    assert told is not None
    return told


def test_an_owner_that_leaves_in_order_hands_on_what_it_has_not_finished_of_a_window() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", "c", left=CRASHED)

    unbegun = left_by(bench, partition)
    first = begun(bench, partition)
    assert first is not None
    begun_one = left_by(bench, partition)
    first.delete()
    second = begun(bench, partition)
    assert second is not None
    second.delete()
    over = left_by(bench, partition)

    assert [(left.is_clean, left.reach) for left in (unbegun, begun_one)] == [(False, 2)] * 2
    assert over.is_clean


def test_a_suspect_stays_one_under_an_owner_that_leaves_in_order_without_having_begun_it() -> None:
    earlier = Bench()
    left = left_by(earlier, earlier.partition("a", "b", left=SUSPECT))

    bench = Bench()
    partition = bench.partition("a", "b", left=left)
    suspect = begun(bench, partition)

    assert left.marks == {0: Mark(1, has_crashed=True)}
    assert suspect is not None
    assert (suspect.offset, suspect.retries, suspect.has_crashed) == (0, 1, True)


def test_a_suspect_stays_one_when_its_owner_leaves_in_order_without_its_end() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", left=SUSPECT)
    begun(bench, partition)
    bench.commit(partition)

    told = OffsetMap.decode(partition.committed[1], 0)
    left = left_by(bench, partition)

    assert told is not None
    assert told.marks == {0: Mark(2, in_hand=True, has_crashed=True)}
    # The start of an owner that was not killed does not count.
    assert left.marks == {0: Mark(1, has_crashed=True)}


def test_a_suspect_that_waits_for_its_time_holds_up_no_other_partition() -> None:
    bench = Bench()
    due = round(time.time() * 1000) + 60_000
    marks = {0: Mark(1, due, has_crashed=True)}
    waiting = bench.partition("a", left=OffsetMap(reach=1, is_clean=False, marks=marks))
    bench.partition("b", "c", number=1)

    assert bench.offsets(2) == [0, 1]
    assert waiting.tracker.first_open == 0


def test_what_was_finished_while_it_was_told_of_is_no_suspect() -> None:
    left = OffsetMap(reach=3, is_clean=False, frontier=2, unfinished=(0,), marks={1: Mark(1, in_hand=True)})

    assert not Bench().partition("a", "b", "c", left=left).marks.suspects


def test_a_window_is_handed_on_to_the_next_owner_when_this_one_dies_in_it() -> None:
    bench = Bench()
    partition = bench.partition(*["a"] * 10, left=OffsetMap(reach=8, is_clean=False))
    bench.scheduler.pop()
    bench.commit(partition)

    told = OffsetMap.decode(partition.committed[1], 0)

    assert told is not None
    assert told.reach >= 8


# losing ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_an_order_everything_in_hand_is_counted_until_it_is_settled() -> None:
    bench = Bench(ordering="none")
    bench.partition("a", "b", "c")
    first, second, third = bench.kept(3)

    second.delete()
    before = bench.scheduler.is_empty
    first.delete()
    third.delete()

    assert (before, bench.scheduler.is_empty) == (False, True)


def test_what_is_lost_is_dropped_wherever_it_waits() -> None:
    bench = Bench()
    lost = bench.partition("a", "a", "b", "c")
    first, second = bench.kept(2)
    first.release(0)
    bench.lose(lost)
    left = bench.partition("z", number=1)

    found = bench.kept(1)
    second.delete()
    nothing = bench.scheduler.pop()
    found[0].delete()

    assert found[0].partition is left
    assert nothing is None
    assert lost.tracker.position is None
    assert bench.scheduler.is_empty


def test_messages_that_are_fetched_twice_run_once() -> None:
    bench = Bench()
    partition = bench.partition("a", "b")

    bench.arrive(partition, 0, "a", "b", "c")

    assert bench.offsets(3) == [0, 1, 2]
    assert bench.scheduler.pop() is None


def test_a_job_that_blocks_its_key_for_too_long_fails() -> None:
    bench = Bench(Scheduler({"t": 1}, block_limit=10))
    bench.partition("a", "b")

    bench.pop().release(60)

    assert isinstance(bench.pop().failure, OrderBlocked)


# priorities ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_with_more_weight_comes_first_and_none_starves() -> None:
    bench = Bench(Scheduler({"high": 8, "low": 1}))
    high = bench.partition(*["a"] * 32, topic="high")
    low = bench.partition(*["b"] * 32, topic="low")

    order = []
    for _ in range(18):
        delivery = bench.pop()
        order.append(delivery.queue)
        delivery.delete()
        bench.commit(high, low)

    assert order[:4] == ["high"] * 4
    assert order.count("low") == 2


def test_partitions_take_turns_though_more_was_fetched_of_one_first() -> None:
    bench = Bench()
    first = bench.partition(*"abcdefghij")
    bench.arrive(first, 10, *"klmnopqrst")
    second = bench.partition("u", "v", number=1)

    numbers = []
    for _ in range(22):
        delivery = bench.pop()
        numbers.append(delivery.partition.number)
        delivery.delete()

    assert numbers == [0] * 10 + [1] * 2 + [0] * 10
    assert bench.backlog(second).is_plain


def test_a_long_chunk_of_one_partition_lets_another_have_its_turn() -> None:
    bench = Bench()
    bench.partition(*map(str, range(30)))
    bench.partition("u", "v", number=1)

    numbers = []
    for _ in range(32):
        delivery = bench.pop()
        numbers.append((delivery.partition.number, delivery.offset))
        delivery.delete()

    turn = LEAST // 2
    assert numbers == [*((0, n) for n in range(turn)), (1, 0), (1, 1), *((0, n) for n in range(turn, 30))]


def test_a_topic_that_is_alone_is_worked_without_a_break() -> None:
    bench = Bench(Scheduler({"high": 8, "low": 1}))
    bench.partition(*["b"] * 5, topic="low")

    assert bench.offsets(5) == [0, 1, 2, 3, 4]


def test_a_job_that_is_put_back_comes_again_before_all_others() -> None:
    bench = Bench()
    bench.partition("a", "b", "c")
    first, second = bench.pop(), bench.pop()

    second.put_back()
    first.put_back()

    assert bench.offsets(3) == [0, 1, 2]
    assert bench.scheduler.is_empty


def test_a_job_that_is_put_back_waits_behind_one_of_its_key_that_has_to_run_again() -> None:
    bench = Bench()
    bench.partition("a", "b", "a", "a", "b")
    first, _, third = bench.pop(), bench.pop(), bench.pop()

    first.release(0)
    third.put_back()

    assert third.follows(first)
    assert bench.offsets(4) == [0, 2, 3, 4]


@pytest.mark.parametrize("ordering", ["key", "partition"])
def test_what_follows_two_jobs_of_one_key_waits_for_both(ordering: Ordering) -> None:
    bench = Bench(ordering=ordering)
    bench.partition("a", "a", "a", "a")
    first, second = bench.pop(), bench.pop()
    first.keep()
    second.keep()

    first.delete()
    while_one_is_kept = bench.scheduler.pop()
    second.delete()

    assert while_one_is_kept is None
    assert bench.offsets(2) == [2, 3]


def test_two_kept_jobs_of_one_key_that_are_put_back_come_again_one_after_the_other() -> None:
    bench = Bench()
    bench.partition("a", "a", "a")
    first, second = bench.kept_together(2)

    second.put_back()
    first.put_back()
    again = bench.pop()
    again.keep()
    behind = bench.scheduler.pop()
    again.delete()

    assert (again, behind) == (first, None)
    assert bench.offsets(2) == [1, 2]
    assert bench.scheduler.is_empty


def test_one_of_two_kept_jobs_of_a_key_can_be_released_and_the_other_put_back() -> None:
    bench = Bench()
    bench.partition("a", "a", "a")
    first, second = bench.kept_together(2)

    first.release(0)
    second.put_back()

    assert bench.offsets(3) == [0, 1, 2]
    assert bench.scheduler.is_empty


def test_jobs_without_order_follow_nothing() -> None:
    bench = Bench(ordering="none")
    bench.partition("a", "a")
    first, second = bench.pop(), bench.pop()

    second.put_back()

    assert not second.follows(first)
    assert bench.pop() is second


def test_a_retry_of_which_there_are_no_milliseconds_waits_all_the_same() -> None:
    bench = Bench()
    partition = bench.partition("a", "b")

    bench.pop().release(1e308)
    bench.commit(partition)

    assert (bench.pop().offset, bench.scheduler.pop(), partition.marks[0].retries) == (1, None, 1)


# the end of a worker by an error of its own ──────────────────────────────────────────────────────────────────────────


def left(partition: Partition) -> OffsetMap:
    """What the last commit tells the next owner."""
    news = partition.news(is_last=True)
    assert news is not None
    told = OffsetMap.decode(news.text, news.position)
    assert told is not None
    return told


def test_a_start_that_met_an_error_of_the_workers_own_is_left_as_one_it_died_of() -> None:
    bench = Bench()
    partition = bench.partition("a", "b", "c")
    first, met = bench.pop(), bench.pop()
    first.delete()

    assert met.count_crash()

    assert left(partition).marks == {1: Mark(1, has_crashed=True)}
    assert left(partition).is_clean


def test_an_announced_start_that_met_an_error_counts_once() -> None:
    bench = Bench()
    before = OffsetMap(reach=2, marks={0: Mark(1, has_crashed=True)})
    partition = bench.partition("a", "b", left=before)
    assert bench.scheduler.pop() is None
    bench.commit(partition)

    assert bench.pop().count_crash()

    assert left(partition).marks == {0: Mark(2, has_crashed=True)}


@pytest.mark.parametrize("how", ["delete", "release", "lose"])
def test_a_start_that_was_settled_before_the_error_counts_no_more(how: str) -> None:
    bench = Bench()
    partition = bench.partition("a")
    delivery = bench.pop()
    if how == "delete":
        delivery.delete()
    elif how == "release":
        delivery.release(60)
    else:
        bench.lose(partition)

    assert not delivery.count_crash()

    assert delivery.retries == (how == "release")


class Times:
    """A clock that knows the time to 5 ms."""

    def now(self) -> float:
        """The brokers have reached it."""
        return 1000.0

    def latest(self) -> float:
        """They have not passed it."""
        return 1000.005


def test_a_wait_is_told_by_a_time_that_the_brokers_have_not_passed() -> None:
    bench = Bench(Scheduler({"t": 1}, clock=Times()))
    partition = bench.partition("a")

    bench.pop().release(60)

    assert left(partition).marks[0].due == 1_060_005
