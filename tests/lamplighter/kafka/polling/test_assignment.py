"""Partitions that are given, cut off, made anew and given away."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.partitions.partition import Chunk, Partition
from lamplighter.kafka.polling.assignment import Assignment
from tests.lamplighter.kafka.records import log

PLACE = ("t", 0)


@dataclass
class Consumer:
    """The client, as far as an assignment needs it."""

    end: int = -1
    sought: list[tuple[int, int | None]] = field(default_factory=list)

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        """These are to be fetched."""

    def resume(self, places: list[TopicPartition]) -> None:
        """They are not paused."""

    def seek(self, place: TopicPartition) -> None:
        """Fetch from here on."""
        self.sought.append((place.offset, place.leader_epoch))

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        """Where the log begins and ends."""
        return 0, self.end


@dataclass
class Bench:
    """An assignment of one partition, and what it hands over."""

    wait: float = 0.0
    is_over: bool = False
    consumer_end: int = -1
    arrived_: list[int] = field(default_factory=list)
    looked_at: list[Partition] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.consumer: Any = Consumer(self.consumer_end)
        self.assignment = Assignment(
            "kafka",
            scheduling=self,
            wait=self.wait,
            changed=lambda: None,
            alive=lambda: None,
            is_over=lambda: self.is_over,
        )

    def arrived(self, partition: Partition, chunk: Chunk) -> None:
        """Records are handed over."""
        self.arrived_ += [record.offset() for record in reversed(chunk)]

    def look_at(self, partition: Partition) -> None:
        """Something has become of a partition."""
        self.looked_at.append(partition)

    def take(self, offset: int = -1001, epoch: int = -1, metadata: str = "") -> Partition:
        """The partition is ours, with what was committed of it."""
        left = [TopicPartition(*PLACE, offset, metadata, epoch)]
        self.assignment.take(self.consumer, left, left)
        return self.partition

    @property
    def partition(self) -> Partition:
        """The partition as it is ours now."""
        return self.assignment.partitions[PLACE]

    def batch(self, *runs: list[Any]) -> None:
        """One fetch, in which records of the partition stand in several places."""
        self.assignment.begin_batch()
        for run in runs:
            self.assignment.receive(self.consumer, PLACE, run)

    # as a committer

    def commit_beside(self, consumer: object, partitions: list[Partition]) -> None:
        """Those that stay go on."""
        self.log.append(f"beside {len(partitions)}")

    def commit_last(self, consumer: object, partitions: list[Partition]) -> None:
        """Those that go have said all."""
        self.log.append(f"last {[partition.lost for partition in partitions]}")


def test_what_is_fetched_once_more_is_handed_over_once() -> None:
    bench = Bench()
    bench.take()

    bench.batch(log(0, 5))
    bench.batch(log(3, 8))

    assert bench.arrived_ == list(range(9))
    assert bench.consumer.sought == []


def test_a_commit_is_wanted_as_soon_as_records_arrive_that_no_commit_has_announced() -> None:
    bench = Bench()
    partition = bench.take()
    partition.begin_at(0)
    partition.reach.acknowledge(100)
    wanted = []

    for records, begun in [(log(0, 9), 0), (log(10, 19), 100)]:
        partition.reach.begin(begun)
        partition.wants_commit = False
        bench.batch(records)
        wanted.append(partition.wants_commit)

    assert wanted == [False, True]


def test_a_log_that_was_written_anew_is_read_from_there_and_nothing_behind_it_is_passed_over() -> None:
    bench = Bench()
    old = bench.take()
    bench.batch(log(0, 9))
    for offset in range(8):
        old.tracker.finish(offset)

    # The second run of this batch was fetched before the seek, and will come again.
    bench.batch(log(5, 6, epoch=2), log(7, 12, epoch=2))
    bench.batch(log(5, 12, epoch=2))

    assert bench.consumer.sought == [(5, None)]
    assert bench.arrived_[10:] == list(range(5, 13))
    assert old.lost
    assert not bench.partition.lost


def test_what_was_not_finished_before_the_cut_is_read_once_more() -> None:
    bench = Bench()
    old = bench.take()
    bench.batch(log(0, 9))
    for offset in (0, 1, 3, 4):
        old.tracker.finish(offset)

    bench.batch(log(5, 6, epoch=2))
    bench.batch(log(2, 4), log(5, 6, epoch=2))

    assert bench.consumer.sought == [(2, None)]
    assert bench.arrived_[10:] == [2, 5, 6]


def test_the_end_of_a_log_that_lost_its_end_is_committed() -> None:
    bench = Bench()
    old = bench.take()
    bench.batch(log(0, 9))
    for offset in range(10):
        old.tracker.finish(offset)

    bench.assignment.begin_batch()
    bench.assignment.read_to(bench.consumer, PLACE, 5, from_end=False)

    news = bench.partition.news()
    assert bench.consumer.sought == [(5, None)]
    assert news is not None
    assert news.position == 5


def test_records_of_a_later_epoch_than_the_commit_are_a_reason_to_ask() -> None:
    bench = Bench()
    bench.take(offset=100, epoch=3)

    bench.batch(log(100, 110, epoch=4))
    bench.batch(log(50, 60, epoch=4))

    assert bench.consumer.sought == [(100, 3)]
    assert bench.arrived_ == list(range(50, 61))


@pytest.mark.parametrize("epoch", [3, -1])
def test_records_of_the_epoch_of_the_commit_are_none(epoch: int) -> None:
    bench = Bench()
    bench.take(offset=100, epoch=epoch)

    bench.batch(log(100, 110, epoch=3))

    assert bench.consumer.sought == []
    assert bench.arrived_ == list(range(100, 111))


def left_of(records: list[Any]) -> Bench:
    """A new owner of a partition, of which an earlier one has finished these records."""
    earlier = Bench()
    partition = earlier.take()
    earlier.batch(records)
    for one in records:
        partition.tracker.finish(one.offset())
    news = partition.news(is_last=True)
    assert news is not None
    bench = Bench()
    bench.take(news.position, news.epoch, news.text)
    return bench


def test_a_worker_that_starts_after_a_log_lost_its_end_goes_on_there(caplog: pytest.LogCaptureFixture) -> None:
    bench = left_of(log(0, 24, epoch=3))
    bench.consumer.end = 12

    bench.batch(log(0, 11, epoch=3))
    bench.assignment.begin_batch()
    bench.assignment.read_to(bench.consumer, PLACE, 12, from_end=False)
    news = bench.partition.news()
    bench.batch(log(12, 14, epoch=4))

    assert bench.arrived_ == [12, 13, 14]
    assert bench.consumer.sought == [(12, None)]
    assert news is not None
    assert (news.position, news.epoch) == (12, 3)
    [warning] = [record for record in caplog.records if "has become shorter" in record.getMessage()]
    assert (vars(warning)["read_to"], vars(warning)["cut_off_at"]) == (25, 12)


def test_what_was_written_to_the_shorter_log_before_it_starts_runs() -> None:
    bench = left_of(log(0, 24, epoch=3))
    bench.consumer.end = 15

    bench.batch(log(0, 11, epoch=3), log(12, 14, epoch=4))
    bench.batch(log(12, 14, epoch=4))

    assert bench.consumer.sought == [(12, None)]
    assert bench.arrived_ == [12, 13, 14]


@pytest.mark.parametrize("end", [12, 40])
def test_what_restored_brokers_have_written_under_the_same_epochs_runs_by_its_time(end: int) -> None:
    bench = left_of(log(0, 24, epoch=3, at=100))
    bench.consumer.end = end

    bench.batch([*log(0, 7, epoch=3, at=100), *log(8, 11, epoch=3, at=101)])
    bench.batch(log(8, 11, epoch=3, at=101))

    assert bench.consumer.sought == [(8, None)]
    assert bench.arrived_ == [8, 9, 10, 11]


@pytest.mark.parametrize(("metadata", "epoch"), [("", 3), ("L2.AQAAAAA", 3), (OffsetMap(read_ms=99).encode(25), -1)])
def test_a_shorter_log_is_worked_whole_where_the_commit_tells_no_epoch_or_no_time(metadata: str, epoch: int) -> None:
    bench = Bench(consumer_end=12)
    bench.take(25, epoch, metadata)

    bench.batch(log(0, 11, epoch=3))

    assert bench.arrived_ == list(range(12))


def test_a_log_that_loses_its_end_twice_before_anything_is_written_is_not_worked_again() -> None:
    bench = left_of(log(0, 24, epoch=3))

    for end in (12, 5):
        bench.consumer.end = end
        bench.batch(log(0, end - 1, epoch=3))
        bench.assignment.begin_batch()
        bench.assignment.read_to(bench.consumer, PLACE, end, from_end=False)
    bench.batch(log(5, 6, epoch=5))

    assert bench.consumer.sought == [(12, None), (5, None)]
    assert bench.arrived_ == [5, 6]


def test_that_a_log_lost_its_end_is_known_to_an_owner_that_has_read_nothing_itself() -> None:
    bench = left_of(log(0, 24, epoch=3))
    bench.partition.begin_at(25)
    news = bench.partition.news()
    assert news is not None

    later = Bench(consumer_end=12)
    later.take(news.position, news.epoch, news.text)
    later.batch(log(0, 11, epoch=3))

    assert later.arrived_ == []


def test_a_partition_is_given_away_when_what_is_in_hand_of_it_has_ended() -> None:
    bench = Bench(wait=30)
    partition = bench.take()
    bench.batch(log(0, 3))
    states: list[bool] = []

    def commit_beside(consumer: object, partitions: list[Partition]) -> None:
        states.append(partition.is_open)
        partition.has_left = len(states) == 3

    bench.commit_beside = commit_beside  # type: ignore[method-assign]

    bench.assignment.give_away(bench.consumer, [TopicPartition(*PLACE)], bench)  # type: ignore[arg-type]

    assert states == [False] * 3
    assert bench.log == ["last [False]"]
    assert (partition.lost, bench.assignment.partitions) == (True, {})


def test_it_is_given_away_in_the_end_whatever_is_in_hand(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(wait=0.05)
    partition = bench.take()
    bench.batch(log(0, 3))
    began = time.monotonic()

    bench.assignment.give_away(bench.consumer, [TopicPartition(*PLACE)], bench)  # type: ignore[arg-type]

    assert time.monotonic() - began < 5
    assert partition.lost
    assert "given away with jobs in hand" in caplog.text


def test_a_worker_that_ends_waits_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(wait=3600, is_over=True)
    bench.take()

    bench.assignment.give_away(bench.consumer, [TopicPartition(*PLACE)], bench)  # type: ignore[arg-type]

    assert bench.log == ["last [False]"]
    assert "in hand" not in caplog.text
