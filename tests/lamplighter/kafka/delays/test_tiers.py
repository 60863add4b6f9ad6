"""The delay topics and their records."""

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.contracts import Headers, Message
from lamplighter.errors import UnsupportedDelay
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.holding import DAY, Holding
from lamplighter.kafka.delays.shelf import Shelf, is_question
from lamplighter.kafka.delays.tiers import CLOCK, HEADER, LONG, SHORT, Tiers, unwrap, wrap
from lamplighter.kafka.delays.topics import config_of, problems
from lamplighter.kafka.settings import KafkaSettings

TIERS = Tiers("shop.delay.", SHORT)


class Record:
    """A message as it was appended."""

    def __init__(self, message: Message, *, kind: int, at: float, offset: int = 0) -> None:
        self._message, self._kind, self._at, self._offset = message, kind, at, offset

    def value(self) -> bytes:
        """What it says."""
        return self._message.payload

    def key(self) -> bytes | None:
        """What it is kept in order by."""
        return self._message.key

    def headers(self) -> Headers:
        """What it bears."""
        return self._message.headers

    def timestamp(self) -> tuple[int, int]:
        """When it was appended, or sent."""
        return self._kind, round(self._at * 1000)

    def offset(self) -> int:
        """Where it stands."""
        return self._offset


def appended(message: Message, at: float, *, offset: int = 0) -> Record:
    """A record with the time of its append."""
    return Record(message, kind=TIMESTAMP_LOG_APPEND_TIME, at=at, offset=offset)


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
    assert (found.due, found.since) == (105.0, 100.0)


def test_a_later_hop_keeps_its_absolute_time() -> None:
    found = unwrap(appended(wrap(Message(b"{}"), "orders", due=105.0004, sent=101.0), 101.2))

    assert found is not None
    assert (found.due, found.since) == (105.001, 101.2)


def test_where_brokers_keep_the_senders_time_its_word_is_taken() -> None:
    message = wrap(Message(b"{}"), "orders", due=105.0, sent=100.0, wait=5.0)

    found = unwrap(Record(message, kind=TIMESTAMP_CREATE_TIME, at=3.0))

    assert found is not None
    assert (found.due, found.since) == (105.0, 100.0)


@pytest.mark.parametrize(
    "header", [b"", b"1 2 3", b"x 2 3 orders", b"1 2 - ../etc", b"1 2 - ", b"1 2 - a b", b"\xff 2 3 orders", None]
)
def test_what_is_not_ours_is_told_apart(header: bytes | None) -> None:
    value = [] if header is None else [(HEADER, header)]

    assert unwrap(appended(Message(b"{}", None, value), 1.0)) is None


def test_a_partition_waits_for_its_first_and_commits_what_is_done() -> None:
    shelf = Shelf("shop.delay.5", 0, 5)
    for offset, at in ((7, 100.0), (9, 101.0)):
        shelf.receive(appended(wrap(Message(b"{}"), "orders", due=0, sent=0, wait=5.5), at, offset=offset))

    at = shelf.next_at()
    first, _ = shelf.take()
    second, waiting = shelf.take()
    shelf.done(second.offset())
    before = shelf.news()
    shelf.done(first.offset())

    assert at == 105.0
    assert waiting is not None
    assert waiting.due == 106.5
    assert (before, shelf.news()) == (None, 10)


def test_a_question_for_the_time_is_done_when_it_is_read() -> None:
    shelf = Shelf("shop.delay.1", 0, 1)
    question = appended(Message(b"", None, [(CLOCK, b"")]), 1.0, offset=3)

    shelf.receive(question)

    assert is_question(question)
    assert (shelf.news(), len(shelf.held)) == (4, 0)


def test_what_can_not_be_read_waits_for_nothing() -> None:
    shelf = Shelf("shop.delay.900", 0, 900)

    shelf.receive(appended(Message(b"rubbish"), 100.0))

    assert shelf.next_at() == 0.0
    assert shelf.take()[1] is None


@pytest.mark.parametrize("wrong", ["retention.ms", "retention.bytes", "message.timestamp.type"])
def test_a_delay_topic_that_would_lose_jobs_or_run_them_early_is_told(wrong: str) -> None:
    settings = KafkaSettings()
    good = config_of(settings)

    assert problems(settings, good) == []
    assert [problem.split()[0] for problem in problems(settings, {**good, wrong: "1"})] == [wrong]


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
