"""What counts as standing still."""

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import Mock, patch

import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition

from lamplighter.kafka.monitoring.brokers import Answers
from lamplighter.kafka.monitoring.stall import Stall, takes_connections
from lamplighter.kafka.monitoring.transactions import OpenTransactions
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.polling.end_offsets import Ends


@dataclass
class Polling:
    """A polling thread that has one partition, with some jobs to be fetched."""

    partition: Partition = field(default_factory=lambda: Partition("kafka", "store", 0, offset=10, metadata=None))
    ends: Ends = field(default_factory=Ends)
    lost: list[Partition] = field(default_factory=list)
    brokers: str = "127.0.0.1:1"
    last_commit_error: str = ""
    polled_at: float = 0.0
    paused: Collection[str] = frozenset()
    has_it: bool = True

    def assigned(self) -> list[Partition]:
        """The partition, as long as it is assigned."""
        return [self.partition] if self.has_it else []


class Brokers:
    """Brokers that say how far a partition can be read: up to its end, unless a transaction is open."""

    def __init__(self) -> None:
        self.stable = 10**6
        self.answers = True
        self.error: KafkaError | None = None
        self.asked: list[dict[str, Any]] = []

    def ask(self, places: Iterable[PartitionId], spec: Any, *, isolation: IsolationLevel) -> Answers:
        """What the brokers know at this moment, or nothing for ever."""
        self.asked.append({"places": list(places), "isolation": isolation})
        found: dict[TopicPartition, Future[Any]] = {TopicPartition(*place): Future() for place in places}
        for future in found.values() if self.answers else ():
            if self.error is None:
                future.set_result(Mock(offset=self.stable))
            else:
                future.set_exception(KafkaException(self.error))
        return found


class Bench:
    """A detector on a clock of its own."""

    def __init__(self, *, lag: int = 5, answers: bool = True) -> None:
        self.answers = answers
        self.brokers = Brokers()
        transactions = OpenTransactions(self.brokers, IsolationLevel.READ_COMMITTED, tell_after=60)
        self.polling = Polling()
        self.polling.ends._high["store", 0] = 10 + lag
        self.due = float("inf")
        with patch("time.monotonic", return_value=0.0):
            self.stall = Stall(
                60,
                self.polling,
                next_due=lambda: self.due,
                transactions=transactions,
                answers=lambda brokers: self.answers,
            )

    def look(self, at: float, *, is_busy: bool = False, polls: bool = True) -> str | None:
        """Look at a time."""
        if polls:
            self.polling.polled_at = at
        with patch("time.monotonic", return_value=at):
            return self.stall.look(is_busy=is_busy)

    def run(self, first: int, last: int) -> list[int]:
        """Look each second of a span, as a worker does; the seconds at which a stall was seen."""
        return [at for at in range(first, last) if self.look(at) is not None]


def test_lag_without_progress_is_a_stall_that_tells_what_is_seen() -> None:
    bench = Bench()
    bench.polling.last_commit_error = "Coordinator load in progress"

    told = [bench.look(1), bench.look(60), bench.look(61)]

    assert told[:2] == [None, None]
    assert told[2] is not None
    numbers = "behind store[0] committed 10 end 15 lag 5 beyond 0 retries 0 held 0"
    for words in ("nothing for 60 s", "assigned store[0]", numbers, "Coordinator load in progress"):
        assert words in told[2]


def test_a_worker_with_nothing_to_do_may_do_nothing() -> None:
    bench = Bench(lag=0)

    assert [bench.look(1), bench.look(600)] == [None, None]


def test_a_paused_topic_stands_still_on_purpose_and_has_all_its_time_when_it_goes_on() -> None:
    bench = Bench()
    bench.polling.paused = {"store"}
    paused = [bench.look(1), bench.look(600)]
    bench.polling.paused = frozenset()

    told = [bench.look(601), bench.look(660), bench.look(661)]

    assert [*paused, *told[:2]] == [None] * 4
    assert told[2] is not None


@pytest.mark.parametrize(
    ("part", "what"), [("intake", "expected"), ("reach", "begun"), (None, "position"), (None, "acked")]
)
def test_whatever_goes_on_is_progress(part: str | None, what: str) -> None:
    bench = Bench()
    partition = bench.polling.partition
    bench.look(1)

    setattr(getattr(partition, part) if part else partition, what, 11)
    told = [bench.look(61), bench.look(120), bench.look(121)]

    assert told[:2] == [None, None]
    assert told[2] is not None


def test_a_job_in_hand_and_one_that_waits_for_its_time_are_no_stall() -> None:
    bench = Bench()
    bench.look(1)
    bench.due = 500.0

    busy = bench.look(100, is_busy=True)
    waiting = bench.look(499)
    due_since = [bench.look(558), bench.look(559)]

    assert (busy, waiting) == (None, None)
    assert due_since[0] is None
    assert due_since[1] is not None


def test_partitions_that_were_lost_and_not_given_back_count() -> None:
    bench = Bench()
    bench.polling.has_it, bench.polling.lost = False, [bench.polling.partition]
    bench.look(1)

    bench.look(60)
    told = bench.look(61)

    assert told is not None
    assert "assigned none; lost store[0]" in told


def test_a_polling_thread_that_hangs_is_a_stall_without_any_lag() -> None:
    bench = Bench(lag=0)
    bench.look(1)

    told = bench.look(62, polls=False)

    assert told is not None
    assert "last poll 61 s ago" in told


def test_brokers_that_take_no_connection_are_waited_for() -> None:
    bench = Bench(answers=False)
    bench.look(1)

    assert [bench.look(61), bench.look(121)] == [None, None]
    assert not takes_connections("127.0.0.1:1, nonsense, [::1]:1")


def test_brokers_that_come_back_have_time_for_their_groups() -> None:
    bench = Bench(answers=False)
    bench.look(1)
    away = [bench.look(at) for at in range(2, 118)]

    bench.answers = True
    told = [bench.look(at) for at in range(118, 182)]

    assert not any(away)
    assert not any(told[:44])
    assert told[-1] is not None


def test_markers_behind_the_last_message_are_no_lag() -> None:
    bench = Bench(lag=5)
    bench.polling.ends._read["store", 0] = 15
    bench.look(1)

    assert bench.look(100) is None


def test_an_open_transaction_is_no_stall_however_long_it_is_open_and_is_told_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(lag=5)
    bench.brokers.stable = 10

    assert bench.run(1, 2000) == []
    assert [(record.levelno, "store[0] from 10 on" in vars(record)["partitions"]) for record in caplog.records] == [
        (logging.WARNING, True),
        (logging.ERROR, True),
    ]
    # Four questions in `stall_after` at most.
    assert len(bench.brokers.asked) <= 2000 / 15
    assert bench.brokers.asked[0] == {"places": [("store", 0)], "isolation": IsolationLevel.READ_COMMITTED}


def test_a_short_transaction_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(lag=5)
    bench.brokers.stable = 10
    bench.run(1, 50)

    bench.polling.partition.intake.expected = 15
    bench.run(50, 400)

    assert caplog.records == []


def test_what_is_committed_at_last_and_not_read_is_a_stall() -> None:
    bench = Bench(lag=5)
    bench.brokers.stable = 10
    bench.run(1, 100)

    bench.brokers.stable = 15
    stalled = bench.run(100, 300)

    # Not at once, since it can have been read for less than a quarter of the time.
    assert 145 <= stalled[0] <= 165


def test_beside_an_open_transaction_another_partition_that_stands_still_is_a_stall() -> None:
    bench = Bench(lag=5)
    other = Partition("kafka", "store", 1, offset=0, metadata=None)
    bench.polling.ends._high["store", 1] = 7
    bench.brokers.stable = 10
    with patch.object(Polling, "assigned", lambda polling: [polling.partition, other]):
        stalled = bench.run(1, 100)

    assert stalled[0] == 62


def test_jobs_that_were_delivered_are_a_stall_without_a_question() -> None:
    bench = Bench(lag=0)
    bench.polling.partition.tracker.deliver([10])
    bench.brokers.stable = 10

    assert bench.run(1, 70)[0] == 61
    assert bench.brokers.asked == []


def test_brokers_that_take_connections_and_answer_nothing_are_a_stall() -> None:
    bench = Bench(lag=5)
    bench.brokers.answers = False

    assert 61 <= bench.run(1, 100)[0] <= 75


def test_brokers_that_refuse_to_tell_are_a_stall() -> None:
    bench = Bench(lag=5)
    bench.brokers.error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    assert 61 <= bench.run(1, 100)[0] <= 75


def test_another_partition_that_is_written_to_while_the_brokers_are_asked_is_asked_for_too() -> None:
    bench = Bench(lag=5)
    bench.brokers.stable = 10
    other = Partition("kafka", "store", 1, offset=10, metadata=None)
    with patch.object(Polling, "assigned", lambda polling: [polling.partition, other]):
        bench.look(1)
        bench.look(61)
        bench.polling.ends._high["store", 1] = 12
        told = [bench.look(62), bench.look(63)]

    assert told == [None, None]
    assert [len(asked["places"]) for asked in bench.brokers.asked] == [1, 2]
