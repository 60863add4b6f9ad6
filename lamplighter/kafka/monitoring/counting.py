"""Counts and lists the jobs of one connection: what is left of its topics, and what is to come to them later."""

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol

from lamplighter.contracts import HeldJob, Sizes
from lamplighter.errors import MigrationError, Unavailable
from lamplighter.kafka.delays.delayed_message import DelayedMessage
from lamplighter.kafka.monitoring.delayed import Stray, WaitingJobs
from lamplighter.kafka.monitoring.groups import GroupReader
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.queue.jobs.naming import id_and_name

log = logging.getLogger(__name__)


class Row(Protocol):
    """A job of the table of long delays."""

    @property
    def id(self) -> str: ...
    @property
    def job_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def due(self) -> float: ...
    @property
    def fault(self) -> str: ...


class Rows(Protocol):
    """The table of long delays, as far as it is looked at."""

    def count(self, queue: str | None = None) -> int: ...
    def all(self, *, most: int) -> Sequence[Row]: ...


@dataclass(frozen=True, slots=True)
class Delayed:
    """How many jobs come later to each of some queues; None where a database can't be asked, and `unknown` says why."""

    counts: Mapping[str, int] | None = field(default_factory=dict)
    unknown: str = ""


class Counting:
    """Asks beside every worker: it joins no group and commits nothing.

    Args:
        config: what a client of the connection's brokers is told.
        rows: the table of long delays; None where there is none.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        config: Callable[[], Mapping[str, Any]],
        *,
        rows: Callable[[], Rows | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._config = config
        self._rows = rows
        self._waiting = WaitingJobs(settings, config)

    def sizes(self, queue: str) -> Sizes:
        """How many jobs of a queue are not finished, as `kafka:lag` has them, and how many are to come to it later.

        Raises:
            QueueError: there is no such topic, or the brokers refuse to tell.
            BrokerUnavailable: no broker answers.
        """
        with closing(GroupReader(self._settings, self._config())) as reader:
            lags = reader.lags([queue])
        delayed = self.delayed([queue])
        return Sizes(
            pending=sum(lag.left for lag in lags),
            delayed=None if delayed.counts is None else delayed.counts[queue],
            oldest=min((lag.since / 1000 for lag in lags if lag.left and lag.since >= 0), default=None),
            unknown=delayed.unknown,
            notes=tuple(note for lag in lags for note in lag.notes()),
        )

    def pass_over(self, queue: str) -> int:
        """Have the workers' group go on at the end of a queue; how many jobs it passes over.

        Raises:
            QueueError: the group has members, there is no such topic, or the brokers refuse.
            BrokerUnavailable: no broker answers.
        """
        with closing(GroupReader(self._settings, self._config())) as reader:
            return reader.pass_over(queue)

    def delayed(self, queues: Collection[str]) -> Delayed:
        """How many jobs come later to each of these queues; one reading counts for all.

        Raises:
            BrokerUnavailable: no broker answers.
        """
        found = Counter(delayed.topic for _, delayed in self._waiting.all())
        try:
            rows = self._rows()
            return Delayed({queue: found[queue] + (0 if rows is None else rows.count(queue)) for queue in queues})
        except (Unavailable, MigrationError) as error:
            return Delayed(None, str(error))

    def held(self, *, most: int) -> list[HeldJob]:
        """What is due later, the earliest first: rows, and what waits in the delay topics."""
        for stray in () if self._settings.is_embedded else self.strays():
            log.warning(
                "delayed jobs wait in delay topics that no worker serves; one with their settings moves them",
                extra={"jobs": stray.jobs, "delay_prefix": stray.prefix, "consumer_group_id": stray.group},
            )
        # Never more than `most` of them in memory.
        return heapq.nsmallest(most, self._every_held(most), key=lambda job: job.due)

    def strays(self) -> list[Stray]:
        """What waits for the connection's queue in delay topics of another prefix, which nobody serves."""
        return self._waiting.strays()

    def _every_held(self, most: int) -> Iterator[HeldJob]:
        for position, delayed in self._waiting.all():
            yield _held(position, delayed)
        for row in self._held_rows(most):
            name = f"{row.name} (can't be moved: {row.fault})" if row.fault else row.name
            yield HeldJob(row.id, row.job_id, name, row.queue, row.due, can_cancel=True)

    def _held_rows(self, most: int) -> Iterable[Row]:
        try:
            rows = self._rows()
            return rows.all(most=most) if rows is not None else ()
        except Unavailable as error:
            if self._settings.delay_store == "database":
                raise
            log.warning("delayed jobs may wait in a table that can't be read", extra={"reason": str(error)})
            return ()


def _held(position: str, delayed: DelayedMessage) -> HeldJob:
    job_id, name = id_and_name(delayed.message.payload)
    name = name if delayed.is_ours else f"{name} (not ours)"
    return HeldJob(position, job_id, name, delayed.topic, delayed.due, can_cancel=False)
