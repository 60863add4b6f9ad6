"""The delay topics and their records."""

from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.contracts import Message
from lamplighter.errors import UnsupportedDelay
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.delay_partition import DelayPartition
from lamplighter.kafka.delays.delayed_message import CLOCK, HEADER, asks_for_time, unwrap, wrap
from lamplighter.kafka.delays.holding import DAY, Holding
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.settings.tiers import LONG, SHORT, Tiers
from lamplighter.kafka.topics.delay_topics import config_of, problems
from tests.lamplighter.kafka.records import log, record_of

TIERS = Tiers("shop.delay.", SHORT)


def appended(message: Message, at: float, *, offset: int = 0) -> confluent_kafka.Message:
    """A record with the time of its append."""
    return record_of(message, at=at, kind=TIMESTAMP_LOG_APPEND_TIME, offset=offset)


def partition_of(seconds: int, left: TopicPartition | None = None) -> DelayPartition:
    """A partition of the topic of so many seconds, with what was committed of it; `store` is the default queue."""
    targets = targets_of(KafkaSettings(queue="store", delay_prefix=TIERS.prefix))
    return DelayPartition(TIERS.topic(seconds), 0, seconds, read=targets.read, left=left)


@pytest.mark.parametrize(
    ("left", "chosen"), [(0.2, 1), (1, 1), (4.99, 1), (5, 5), (59.9, 15), (60, 60), (899, 300), (86_400, 900)]
)
def test_the_longest_that_is_over_in_time_is_chosen(left: float, chosen: int) -> None:
    assert TIERS.choose(left) == chosen


@given(st.floats(min_value=1, max_value=30 * 86_400))
def test_every_delay_up_to_thirty_days_ends_after_a_few_hops(delay: float) -> None:
    tiers, left, hops = Tiers("", SHORT + LONG), delay, 0

    while left >= 1:
        chosen = tiers.choose(left)
        assert chosen <= left
        left -= chosen
        hops += 1

    assert hops <= 32


def test_a_topic_names_its_delay() -> None:
    assert TIERS.topics()[:2] == ["shop.delay.1", "shop.delay.5"]
    assert TIERS.seconds_of("shop.delay.300") == 300


def test_key_payload_and_headers_travel_as_they_are() -> None:
    message = Message(b'{"job": "a"}', b"key", [("trace", b"\x00\xff"), ("empty", None)])

    found = unwrap(appended(wrap(message, "orders", due=105, sent=100, wait=5), 100.25))

    assert found is not None
    assert found.topic == "orders"
    assert (found.message.payload, found.message.key) == (message.payload, message.key)
    assert list(found.message.headers) == list(message.headers)


def test_a_first_hop_is_due_so_long_after_its_append_whatever_the_sender_said() -> None:
    record = wrap(Message(b"{}"), "orders", due=70.0, sent=65.0, wait=5.0)  # the sender is 35 s slow

    found = unwrap(appended(record, 100.0))

    assert found is not None
    # The brokers cut off what is less than a millisecond: it may have been appended at 100.0009.
    assert (found.due, found.since) == (105.001, 100.001)


def test_a_later_hop_keeps_its_absolute_time() -> None:
    found = unwrap(appended(wrap(Message(b"{}"), "orders", due=105.0004, sent=101.0), 101.2))

    assert found is not None
    assert (found.due, found.since) == (105.001, 101.201)


def test_where_brokers_keep_the_senders_time_its_word_is_taken() -> None:
    message = wrap(Message(b"{}"), "orders", due=105.0, sent=100.0, wait=5.0)

    found = unwrap(record_of(message, at=3.0))

    assert found is not None
    assert (found.due, found.since) == (105.0, 100.0)


@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"1 2 3", b"x 2 3 orders", b"1 2 - ../etc", b"1 2 - ", b"1 2 - a b", b"\xff 2 3 orders", None),
        *(b"1%s 0 - orders" % (b"0" * 400), b"0 0 1%s orders" % (b"0" * 400), b"0 1%s - orders" % (b"0" * 5000)),
        *(b"-1 0 - orders", b"1_0 0 - orders", b" 1 0 - orders", "\u0661 0 - orders".encode(), b"nan 0 - orders"),
        *(b"1 0 - .", b"1 0 - ..", b"1 0 - orders\n", b"1 0 - orders ", b"3000000000000 0 - orders"),
        b"0 0 3000000000000 orders",  # longer than anything is held back
    ],
)
def test_what_is_not_ours_is_told_apart(header: bytes | None) -> None:
    value = [] if header is None else [(HEADER, header)]

    assert unwrap(appended(Message(b"{}", None, value), 1.0)) is None


def test_a_header_that_bears_the_name_of_ours_stays_with_its_message() -> None:
    message = Message(b"{}", None, [(HEADER, b"rubbish"), (CLOCK, b""), ("trace", b"1")])

    found = unwrap(appended(wrap(message, "orders", due=105, sent=100), 100.25))

    assert found is not None
    assert list(found.message.headers) == list(message.headers)


@pytest.mark.parametrize(
    "message",
    [
        Message(b"{}", None, [(CLOCK, b"")]),
        Message(b"", b"key", [(CLOCK, b"")]),
        Message(b"", None, [(CLOCK, b"x")]),
        Message(b"", None, [(CLOCK, b""), ("trace", b"1")]),
        Message(b"", None, []),
    ],
)
def test_only_what_says_nothing_else_is_a_question_for_the_time(message: Message) -> None:
    assert not asks_for_time(appended(message, 1.0))


def test_a_sender_that_says_it_wrote_tomorrow_holds_up_its_partition_no_longer_than_others() -> None:
    partition = partition_of(60)
    tomorrow = wrap(Message(b"{}"), "orders", due=200_000, sent=90_000)

    partition.receive(record_of(tomorrow, at=0), 1000.0)

    assert partition.next_at() == 1060.0


def test_a_partition_waits_for_its_first_and_commits_what_is_done() -> None:
    partition = partition_of(5)
    for offset, at in ((7, 100.0), (9, 101.0)):
        partition.receive(appended(wrap(Message(b"{}"), "orders", due=0, sent=0, wait=5.5), at, offset=offset))

    at = partition.next_at()
    first, _ = partition.take()
    second, delayed = partition.take()
    partition.done(second)
    before = partition.news()
    partition.done(first)

    assert at == 105.001
    assert delayed.due == 106.501
    assert (before, partition.news()) == (None, 10)


def test_a_question_for_the_time_is_done_when_it_is_read() -> None:
    partition = partition_of(1)
    question = appended(Message(b"", None, [(CLOCK, b"")]), 1.0, offset=3)

    partition.receive(question)

    assert asks_for_time(question)
    assert (partition.news(), len(partition.held)) == (4, 0)


def test_what_can_not_be_read_waits_for_nothing() -> None:
    partition = partition_of(900)

    partition.receive(appended(Message(b"rubbish", b"key", [(HEADER, b"rubbish")]), 100.0))

    assert partition.next_at() == 0.0
    delayed = partition.take()[1]
    assert (delayed.topic, delayed.is_ours) == ("store", False)
    assert delayed.message == Message(b"rubbish", b"key", [(HEADER, b"rubbish")])


@pytest.mark.parametrize("wrong", ["retention.ms", "retention.bytes", "message.timestamp.type"])
def test_a_delay_topic_that_would_lose_jobs_or_run_them_early_is_told(wrong: str) -> None:
    settings = KafkaSettings()
    good, name = config_of(settings), settings.tiers.topics()[0]

    assert problems(settings, name, good) == []
    assert [problem.split()[0] for problem in problems(settings, name, {**good, wrong: "1"})] == [wrong]


def test_a_topic_has_to_keep_its_records_for_as_long_as_they_wait_there() -> None:
    settings, config = KafkaSettings(), {"retention.ms": str(20 * 86_400_000)}

    assert problems(settings, "lamplighter.delay.921600", config) == []
    assert "retention.ms" in problems(settings, "lamplighter.delay.1843200", config)[0]


def test_longer_topics_that_are_there_are_served_and_others_are_told_apart() -> None:
    there = [
        *TIERS.topics(),
        "shop.delay.1800",
        "shop.delay.7",
        "old.delay.1800",
        *(f"old.delay.{s}" for s in SHORT),
        "x.900",
    ]

    assert TIERS.served(there) == Tiers("shop.delay.", (*SHORT, 1800))
    assert Tiers("shop.delay.", SHORT + LONG).served(there).seconds == SHORT + LONG
    assert TIERS.others(there) == [Tiers("old.delay.", (*SHORT, 1800))]


def holding(retention: float) -> Holding:
    """What holds jobs back in topics that keep records for so long."""

    def unused() -> Any:
        raise AssertionError("a job in a delay topic needs neither producer nor table")

    settings, keeps = KafkaSettings(), lambda topic, wait: retention
    return Holding("kafka", settings, BrokerClock(), producer=unused, rows=unused, retention=keeps)


def test_a_topic_has_to_keep_a_job_for_the_wait_in_it() -> None:
    message = Message(b"{}")

    kept = holding(60.5).record(message, "orders", 299)[0], holding(7 * DAY).record(message, "orders", 10 * DAY)[0]
    with pytest.raises(UnsupportedDelay, match="has to wait there for 60 s"):
        holding(60).record(message, "orders", 299)

    assert kept == ("lamplighter.delay.60", "lamplighter.delay.900")


def moved(count: int, *, is_bare: bool = False) -> TopicPartition:
    """What is committed of a partition whose records an owner has moved, all of one leader and one time."""
    partition = partition_of(5)
    for record in log(0, count - 1, epoch=3, at=100):
        partition.receive(record)
        partition.take()
        partition.done(record.offset() or 0)
    position = partition.news()
    assert position is not None
    return partition.commit_of(position, is_bare=is_bare)


def test_what_was_moved_of_a_log_that_lost_its_end_is_not_moved_again() -> None:
    partition = partition_of(5, moved(25))

    old = [partition.is_moved(record) for record in log(0, 11, epoch=3, at=100)]
    new = partition.is_moved(log(12, 12, epoch=4, at=200)[0])
    left = partition.left_before(12)
    cut_again = partition_of(5, left)

    assert (old, new) == ([True] * 12, False)
    assert (left.offset, left.leader_epoch) == (12, 3)
    assert all(cut_again.is_moved(record) for record in log(0, 7, epoch=3, at=100))


def test_what_restored_brokers_have_written_under_the_same_epochs_is_moved_by_its_time() -> None:
    partition = partition_of(5, moved(25))

    found = [partition.is_moved(record) for record in [*log(0, 1, epoch=3, at=100), *log(2, 2, epoch=3, at=101)]]

    assert found == [True, True, False]


def test_a_shorter_log_is_moved_again_where_the_commit_tells_no_time() -> None:
    partition = partition_of(5, moved(25, is_bare=True))

    assert not any(partition.is_moved(record) for record in log(0, 11, epoch=3, at=100))


def test_what_waits_in_hand_is_fetched_again_where_the_log_was_cut_off_behind_it() -> None:
    partition = partition_of(5)
    for record in log(0, 9, epoch=3):
        partition.receive(record)
    partition.take()
    partition.done(0)

    assert partition.left_before(5).offset == 1
