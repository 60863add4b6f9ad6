"""What waits in the delay topics, and in those of other settings that nobody serves; read without a group."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lamplighter.errors import QueueError
from lamplighter.kafka.delays.delayed_message import DelayedMessage, asks_for_time
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.monitoring.brokers import Brokers
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.reader import Reader
from lamplighter.kafka.reading.spans import Span
from lamplighter.kafka.settings.native import IsolationLevel
from lamplighter.kafka.settings.settings import MOVERS, KafkaSettings
from lamplighter.kafka.settings.tiers import BY_GROUP, Tiers

log = logging.getLogger(__name__)

SILENCE = 8.0  # seconds without a record until the brokers count as gone
MOST = 100_000  # records of the delay topics that are looked at


@dataclass(frozen=True, slots=True)
class Stray:
    """So many jobs wait in the delay topics of another prefix, which workers of `group` would serve."""

    prefix: str
    group: str
    jobs: int

    def __str__(self) -> str:
        jobs = "1 delayed job waits" if self.jobs == 1 else f"{self.jobs:,} delayed jobs wait"
        return (
            f"{jobs} in the topics {self.prefix}*, which nobody serves: consumer_group_id or delay_prefix was another "
            f"when they were dispatched. A worker with the consumer_group_id {self.group!r} and the delay_prefix "
            f"{self.prefix!r} moves them."
        )


class WaitingJobs:
    """The delay topics of one connection.

    Args:
        config: what a client of the connection's brokers is told.
    """

    def __init__(self, settings: KafkaSettings, config: Callable[[], Mapping[str, Any]]) -> None:
        self._settings = settings
        self._config = config

    def all(self) -> Iterator[tuple[str, DelayedMessage]]:
        """What waits, each with its position; as many as may be looked at, and a WARNING where there are more.

        Long delays are looked for in topics whatever the store is now: what was put there waits there.

        Raises:
            BrokerUnavailable: no broker answers.
            QueueError: the brokers refuse.
        """
        brokers = self._brokers()
        topics = brokers.topics()
        yield from self._read(brokers, self._settings.tiers.served(topics), topics, self._settings.delays_group)

    def strays(self) -> list[Stray]:
        """What waits for the connection's queue in delay topics of another prefix, which nobody serves.

        Found by their names: of a prefix of one's own it is known only that this group has served it.
        """
        own, brokers = self._settings.delays_group, self._brokers()
        topics = brokers.topics()
        found = []
        for tiers in self._settings.tiers.others(topics):
            group = group_of(tiers) or own
            if group != own and _has_members(brokers, group):
                continue
            # Topics of another application may refuse to be read, which is no reason to tell nothing of one's own.
            with suppress(QueueError):
                waiting = self._read(brokers, tiers, topics, group, only_begun=group_of(tiers) is None)
                jobs = sum(one.is_ours and one.topic == self._settings.queue for _, one in waiting)
                found += [Stray(tiers.prefix, group.removesuffix(MOVERS), jobs)] if jobs else []
        return found

    def _brokers(self) -> Brokers:
        return Brokers(self._config(), is_embedded=self._settings.is_embedded)

    def _read(
        self,
        brokers: Brokers,
        tiers: Tiers,
        topics: Mapping[str, Collection[int]],
        group: str,
        *,
        only_begun: bool = False,
    ) -> Iterator[tuple[str, DelayedMessage]]:
        """What a group has not moved; with `only_begun` of partitions of which it has moved something."""
        places = [(topic, number) for topic in tiers.topics() for number in topics.get(topic, ())]
        spans = _not_moved(brokers, places, group, only_begun=only_begun)
        read, left = targets_of(self._settings).read, MOST
        with Reader(self._config(), name="waiting", silence=SILENCE) as reader:
            for record in reader.read(spans):
                if asks_for_time(record):
                    continue
                if not left:
                    log.warning("more delayed jobs wait than are looked at", extra={"looked_at": MOST})
                    return
                left -= 1
                yield f"{record.topic()}[{record.partition()}]@{record.offset()}", read(record)


def group_of(tiers: Tiers) -> str | None:
    """The group of the movers that serve delay topics whose names are made of a group; None for other names."""
    return tiers.prefix.removesuffix(BY_GROUP) + MOVERS if tiers.prefix.endswith(BY_GROUP) else None


def _not_moved(
    brokers: Brokers, places: Sequence[PartitionId], group: str, *, only_begun: bool
) -> dict[PartitionId, Span]:
    committed = brokers.committed(group, places)
    spans = {}
    for place, found in brokers.logs(places, isolation=IsolationLevel.READ_COMMITTED).items():
        position = committed[place].offset if place in committed else -1
        first = found.first_open(position)
        if first < found.stable and not (only_begun and position < 0):
            spans[place] = Span(first, found.stable)
    return spans


def _has_members(brokers: Brokers, group: str) -> bool:
    """Whether somebody moves what waits there; where the brokers don't tell, somebody is taken to."""
    try:
        found = brokers.describe(group)
    except LookupError:
        return False
    except QueueError:
        return True
    return found is None or bool(found.members)
