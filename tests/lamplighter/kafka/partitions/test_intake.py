"""What was handed over of a log, and how one is noticed that was cut off and written anew."""

import pytest
from confluent_kafka import Message

from lamplighter.kafka.partitions.intake import NONE, Intake
from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.partitions.partition import Partition
from tests.lamplighter.kafka.records import log


def read(*parts: list[Message]) -> Intake:
    """What has read these records."""
    intake = Intake()
    for part in parts:
        intake.move(part)
    return intake


def test_records_that_are_fetched_once_more_are_no_new_ones() -> None:
    intake = read(log(0, 49), log(50, 99, epoch=1))

    assert intake.rewritten_from(log(30, 60)[:20] + log(50, 60, epoch=1), end=100) == NONE


def test_a_record_of_another_leader_is_new_where_another_one_stood() -> None:
    intake = read(log(0, 99))

    assert intake.rewritten_from(log(0, 49) + log(50, 69, epoch=1), end=70) == 50
    assert intake.rewritten_from(log(50, 99, epoch=1) + log(100, 130, epoch=1), end=131) == 50


def test_restored_brokers_that_count_fewer_epochs_have_new_records_all_the_same() -> None:
    intake = read(log(0, 99, epoch=5))

    assert intake.rewritten_from(log(0, 59, epoch=5) + log(60, 69, epoch=4), end=70) == 60


def test_in_a_log_that_ends_early_what_was_written_last_is_new() -> None:
    intake = read(log(0, 99, epoch=5))

    assert intake.rewritten_from(log(0, 59, epoch=5) + log(60, 69, epoch=5, at=1.0), end=70) == 60
    assert intake.rewritten_from(log(0, 59, epoch=5) + log(60, 69, epoch=5, at=1.0), end=170) == NONE


def test_what_an_earlier_owner_has_read_is_known_up_to_its_epoch() -> None:
    intake = read(log(80, 99, epoch=3))

    assert intake.rewritten_from(log(0, 60, epoch=2), end=100) == NONE
    assert intake.rewritten_from(log(0, 30, epoch=2) + log(31, 40, epoch=4), end=100) == 31


def test_without_epochs_a_log_that_ends_early_is_worked_from_where_it_is_read() -> None:
    intake = read(log(0, 99, epoch=None))

    assert intake.rewritten_from(log(0, 49, epoch=None), end=70) == 0
    assert intake.rewritten_from(log(0, 49, epoch=None), end=100) == NONE
    assert intake.rewritten_from(log(0, 49, epoch=None), end=-1) == NONE


@pytest.mark.parametrize(("end", "position"), [(40, 10), (10, 10), (5, 5)])
def test_what_is_finished_before_the_cut_stays_finished(end: int, position: int) -> None:
    left = OffsetMap(reach=60, is_clean=False, frontier=60, unfinished=(10, 30, 50), marks={30: Mark(2), 50: Mark(1)})
    partition = Partition("kafka", "t", 0, offset=10, metadata=left.encode(10))
    partition.receive(log(10, 60))

    found, text, epoch = partition.left_before(end)

    told = OffsetMap.decode(text, found)
    assert (found, epoch) == (position, 0 if end > 10 else -1)
    assert told is not None
    assert told.frontier == max(end, position)
    assert told.unfinished == tuple(offset for offset in (10, 30) if offset < end)
    assert dict(told.marks) == ({30: Mark(2)} if end == 40 else {})


def test_a_commit_tells_the_leader_epoch_of_what_was_read() -> None:
    partition = Partition("kafka", "t", 0, offset=0, metadata=None)
    partition.receive(log(0, 3) + log(4, 5, epoch=7))

    news = partition.news()

    assert news is not None
    assert news.epoch == 7


def test_what_was_finished_of_a_log_that_was_cut_off_says_nothing_of_the_new_records() -> None:
    left = OffsetMap(reach=90, is_clean=False, frontier=80, unfinished=(10,), marks={10: Mark(1), 60: Mark(4)})
    partition = Partition("kafka", "t", 0, offset=10, metadata=left.encode(10), epoch=5)

    chunk = partition.receive(log(10, 49, epoch=5) + log(50, 70, epoch=6))

    assert [record.offset() for record in reversed(chunk)] == [10, *range(50, 71)]
    assert (10 in partition.marks, 60 in partition.marks) == (True, False)
    assert partition.marks.careful_until == 50


def test_marks_of_records_that_are_gone_with_the_end_of_the_log_meet_no_later_record() -> None:
    left = OffsetMap(marks={0: Mark(1)})
    partition = Partition("kafka", "t", 0, offset=0, metadata=left.encode(0), epoch=0)

    partition.read_to(0)

    assert not partition.marks


def test_records_before_an_end_at_which_nothing_was_read_are_new() -> None:
    intake = Intake()
    intake.move_to(100)

    assert intake.rewritten_from(log(50, 60), end=200) == 50
