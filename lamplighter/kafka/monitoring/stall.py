"""Notices that a worker stands still though there is something to do, and says what it sees."""

import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from lamplighter.kafka.monitoring.lag import Log, PartitionLag, measure_own
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.polling.end_offsets import Ends

KNOCK = 1.0  # seconds for a connection to a broker
MOST_BROKERS = 3  # of those that are knocked at
MOST_SHOWN = 20  # partitions that one line names


class Polling(Protocol):
    """What is looked at of the polling thread."""

    polled_at: float
    paused: Collection[str]

    @property
    def ends(self) -> Ends: ...
    @property
    def lost(self) -> list[Partition]: ...
    @property
    def brokers(self) -> str: ...
    @property
    def last_commit_error(self) -> str: ...
    def assigned(self) -> list[Partition]: ...


class Transactions(Protocol):
    """Tells what nobody can read yet from what is not read; see OpenTransactions."""

    @property
    def is_asking(self) -> bool: ...
    def forget_question(self) -> None: ...
    def hold(self, read_to: Mapping[PartitionId, int]) -> bool | None: ...


class Stall:
    """Looks by the clock; called by one thread, which neither polls nor pops, so that it sees both stand still.

    Progress is whatever was handed over, begun, finished or acknowledged as committed. No stall are brokers that take
    no connection, and open transactions of others: the worker says what it waits for, and another one could do no more.
    That a transaction is what holds it up, the brokers have to say: the client knows the end of a log, and not how far
    it can be read. What is paused is not looked at.
    """

    def __init__(
        self,
        after: float,
        polling: Polling,
        *,
        next_due: Callable[[], float],
        transactions: Transactions,
        answers: Callable[[str], bool] | None = None,
    ) -> None:
        self._after = after
        self._polling = polling
        self._next_due = next_due
        self._transactions = transactions
        self._answers = answers or takes_connections
        self._last: object = None
        self._since = self._knocked_at = time.monotonic()

    def look(self, *, is_busy: bool) -> str | None:
        """What is seen when nothing has gone on for too long; None while all is well."""
        now = time.monotonic()
        # A broker that hangs costs the membership of the group first.
        paused = self._polling.paused
        known = self._polling.assigned() or self._polling.lost
        partitions = [one for one in known if one.topic not in paused] if paused else known
        seen = [_progress(partition) for partition in partitions]
        if is_busy or seen != self._last or self._is_waiting(now):
            self._last, self._since = seen, now
            self._transactions.forget_question()
            return None
        # Brokers that come back need some seconds for the groups: they have three quarters of the time at least.
        is_over = now - self._since >= self._after
        is_early = now - max(self._since, self._knocked_at) < self._after / 4
        if not is_over and is_early and not self._transactions.is_asking:
            return None
        is_silent = now - self._polling.polled_at >= self._after
        behind = [partition for partition in partitions if self._polling.ends.left(partition)]
        if not is_silent and not behind:
            return None
        self._knocked_at = now
        if not self._answers(self._polling.brokers):
            self._since = now
            self._transactions.forget_question()
            return None
        is_held = False if is_silent else self._is_held(behind)
        if is_held:
            self._since = now
        return self._told(partitions, now) if is_over and is_held is False else None

    def _is_held(self, behind: Sequence[Partition]) -> bool | None:
        """Whether open transactions are what holds these up; None while that is not known."""
        if any(partition.tracker.left for partition in behind):
            return False
        read_to = self._polling.ends.read_to
        return self._transactions.hold({(one.topic, one.number): read_to(one) for one in behind})

    def _is_waiting(self, now: float) -> bool:
        """Whether a job waits in its place for its time to come."""
        with suppress(IndexError):  # the thread that pops may take it at this moment
            due = self._next_due()
            return now < due < float("inf")
        return False

    def _told(self, partitions: Sequence[Partition], now: float) -> str:
        polling = self._polling
        backlogs = [partition.backlog for partition in partitions if partition.backlog is not None]
        behind = sorted(partitions, key=polling.ends.left, reverse=True)
        lags = [
            _measured(partition, polling.ends.end(partition)).line(time.time())
            for partition in behind
            if polling.ends.left(partition)
        ]
        return "; ".join(
            (
                f"nothing for {now - self._since:.0f} s",
                f"assigned {_some(map(str, polling.assigned()))}",
                f"lost {_some(map(str, polling.lost))}",
                f"paused {_some(str(partition) for partition in partitions if partition.is_paused)}",
                f"behind {_some(lags)}",
                f"begun and not finished {sum(backlog.in_hand for backlog in backlogs)}",
                f"held {sum(backlog.held for backlog in backlogs)}",
                f"last poll {now - polling.polled_at:.0f} s ago",
                f"last commit error {polling.last_commit_error or 'none'}",
            )
        )


def takes_connections(brokers: str) -> bool:
    """Whether one of the first brokers takes a connection; a frozen one does."""
    for broker in brokers.split(",")[:MOST_BROKERS]:
        host, _, port = broker.strip().rpartition(":")
        with suppress(OSError, ValueError), socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK):
            return True
    return False


def _measured(partition: Partition, end: int) -> PartitionLag:
    return measure_own(partition, Log(max(0, partition.position), end, end))


def _progress(partition: Partition) -> tuple[object, ...]:
    """Changes whenever something of a partition goes on."""
    tracker, backlog = partition.tracker, partition.backlog
    return (
        id(partition),
        partition.intake.expected,
        partition.reach.begun,
        backlog.unbegun if backlog is not None else 0,
        tracker.position,
        tracker.ahead,
        partition.position,
        partition.acked,
    )


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - MOST_SHOWN} more" if len(every) > MOST_SHOWN else ""
    return (", ".join(every[:MOST_SHOWN]) or "none") + more
