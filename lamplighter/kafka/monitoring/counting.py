"""Counts what groups have not done, without joining them."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.delays.waiting import Waiting, is_question
from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.polling.commit_errors import is_fatal
from lamplighter.kafka.settings.native import AdminClient, Consumer
from lamplighter.kafka.settings.settings import MOVERS, KafkaSettings
from lamplighter.kafka.settings.tiers import BY_GROUP, Tiers
from lamplighter.kafka.topics.metadata import metadata_of, missing_text

TIMEOUT = 8.0  # seconds for one question to the brokers
BATCH = 500
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


class Counting:
    """Asks the brokers of one connection."""

    def __init__(self, settings: KafkaSettings, config: Callable[[], Mapping[str, Any]]) -> None:
        self._settings = settings
        self._config = config

    def pending(self, queue: str) -> int:
        """How many jobs of a topic are not finished: the lag, without what is finished beyond the committed offset.

        Raises:
            QueueError: there is no such topic.
            BrokerUnavailable: no broker answers.
        """
        with self._consumer(self._settings.consumer_group_id) as consumer:
            places = _places(self._topics(consumer), queue)
            if not places:
                raise QueueError(missing_text([queue], self._settings.brokers))
            total = 0
            for tp in consumer.committed(places, timeout=TIMEOUT):
                low, high = consumer.get_watermark_offsets(TopicPartition(queue, tp.partition), timeout=TIMEOUT)
                start = max(low, tp.offset)
                total += max(0, high - start - _done_beyond(metadata_of(tp), start))
            return total

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """What waits in the delay topics, each with its position; as many as may be looked at.

        Long delays are looked for in topics whatever the store is now: what was put there waits there.
        """
        with self._consumer(self._settings.delays_group) as consumer:
            topics = self._topics(consumer)
            tiers = self._settings.tiers.served(topics)
            yield from self._waiting(consumer, tiers, topics)

    def strays(self) -> list[Stray]:
        """What waits for the connection's queue in delay topics of another prefix, which nobody serves.

        Found by their names: of a prefix of one's own it is known only that this group has served it.
        """
        own = self._settings.delays_group
        with self._consumer(own) as consumer:
            topics = self._topics(consumer)
        found = []
        for tiers in self._settings.tiers.others(topics):
            group = group_of(tiers) or own
            if group != own and self._has_members(group):
                continue
            # Topics of another application may refuse to be read, which is no reason to tell nothing of one's own.
            with suppress(BrokerUnavailable):
                jobs = self._count_stray(tiers, group, topics)
                found += [Stray(tiers.prefix, group.removesuffix(MOVERS), jobs)] if jobs else []
        return found

    def _count_stray(self, tiers: Tiers, group: str, topics: Mapping[str, Any]) -> int:
        with self._consumer(group) as consumer:
            waiting = self._waiting(consumer, tiers, topics, only_begun=group_of(tiers) is None)
            return sum(one.is_ours and one.topic == self._settings.queue for _, one in waiting)

    def _waiting(
        self, consumer: Consumer, tiers: Tiers, topics: Mapping[str, Any], *, only_begun: bool = False
    ) -> Iterator[tuple[str, Waiting]]:
        """What the consumer's group has not moved; with `only_begun` of partitions of which it has moved something."""
        places = [place for topic in tiers.topics() for place in _places(topics, topic)]
        left: dict[tuple[str, int], int] = {}
        starts = []
        for tp in consumer.committed(places, timeout=TIMEOUT) if places else ():
            low, high = consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), timeout=TIMEOUT)
            start = max(low, tp.offset)
            if start < high and not (only_begun and tp.offset < 0):
                left[tp.topic, tp.partition] = high
                starts.append(TopicPartition(tp.topic, tp.partition, start))
        if starts:
            consumer.assign(starts)
            yield from _read(consumer, left, targets_of(self._settings).read)

    def _has_members(self, group: str) -> bool:
        """Whether somebody moves what waits there; where the brokers don't tell, somebody is taken to."""
        admin = AdminClient({**self._config(), "log_level": 0})
        try:
            found = admin.describe_consumer_groups([group], request_timeout=TIMEOUT)[group].result(TIMEOUT + 1)
        except KafkaException as error:
            return bool(error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND)
        except TimeoutError:
            return True
        return bool(found.members)

    @contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **self._config(),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "client.id": f"lamplighter-counting-{uuid.uuid4().hex[:8]}",
                "log_level": 0,  # what goes wrong is raised
            }
        )
        try:
            yield consumer
        except KafkaException as error:
            raise BrokerUnavailable(
                f"The brokers {self._settings.brokers} can't be asked: {error.args[0].str()}"
            ) from error
        finally:
            consumer.close()

    def _topics(self, consumer: Consumer) -> Mapping[str, Any]:
        """All topics of the brokers; asking for all makes none."""
        topics: Mapping[str, Any] = consumer.list_topics(timeout=TIMEOUT).topics
        return topics


def group_of(tiers: Tiers) -> str | None:
    """The group of the movers that serve delay topics whose names are made of a group; None for other names."""
    return tiers.prefix.removesuffix(BY_GROUP) + MOVERS if tiers.prefix.endswith(BY_GROUP) else None


def _places(topics: Mapping[str, Any], topic: str) -> list[TopicPartition]:
    """The partitions of a topic; none where it is missing."""
    found = topics.get(topic)
    return [TopicPartition(topic, number) for number in found.partitions] if found is not None else []


def _read(
    consumer: Consumer, left: dict[tuple[str, int], int], read: Callable[[KafkaMessage], Waiting]
) -> Iterator[tuple[str, Waiting]]:
    heard, count = time.monotonic(), 0
    while left and count < MOST and time.monotonic() - heard < TIMEOUT:
        first = consumer.poll(0.2)
        for record in (first, *consumer.consume(BATCH, 0)) if first is not None else ():
            heard = time.monotonic()
            place, error = (str(record.topic()), record.partition() or 0), record.error()
            if error is not None:
                if is_fatal(error):
                    raise KafkaException(error)
                if error.code() == KafkaError._PARTITION_EOF:
                    left.pop(place, None)
                continue
            offset, end = record.offset() or 0, left.get(place, 0)
            if offset < end and not is_question(record):
                count += 1
                yield f"{place[0]}[{place[1]}]@{offset}", read(record)
            if offset + 1 >= end:
                left.pop(place, None)


def _done_beyond(metadata: str | None, position: int) -> int:
    """How many are finished beyond the committed offset, as its metadata say."""
    handover = OffsetMap.decode(metadata, position)
    if handover is None or handover.frontier <= position:
        return 0
    return max(0, handover.frontier - position - len(handover.unfinished))
