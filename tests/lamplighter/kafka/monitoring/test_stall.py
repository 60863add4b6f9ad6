"""What counts as standing still."""

from dataclasses import dataclass, field
from unittest.mock import patch

import pytest

from lamplighter.kafka.monitoring.stall import Stall, takes_connections
from lamplighter.kafka.partitions.partition import Partition
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
    has_it: bool = True

    def assigned(self) -> list[Partition]:
        """The partition, as long as it is assigned."""
        return [self.partition] if self.has_it else []


class Bench:
    """A detector on a clock of its own."""

    def __init__(self, *, lag: int = 5, answers: bool = True) -> None:
        self.answers = answers
        self.polling = Polling()
        self.polling.ends._high["store", 0] = 10 + lag
        self.due = float("inf")
        with patch("time.monotonic", return_value=0.0):
            self.stall = Stall(60, self.polling, next_due=lambda: self.due, answers=lambda brokers: self.answers)

    def look(self, at: float, *, is_busy: bool = False, polls: bool = True) -> str | None:
        """Look at a time."""
        if polls:
            self.polling.polled_at = at
        with patch("time.monotonic", return_value=at):
            return self.stall.look(is_busy=is_busy)


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
    due_since = bench.look(559)

    assert (busy, waiting) == (None, None)
    assert due_since is not None


def test_partitions_that_were_lost_and_not_given_back_count() -> None:
    bench = Bench()
    bench.polling.has_it, bench.polling.lost = False, [bench.polling.partition]
    bench.look(1)

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
