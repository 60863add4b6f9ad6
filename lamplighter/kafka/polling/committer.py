"""Commits what is finished: by the clock, by the count, when something waits for it, and at the end."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from lamplighter.kafka.partitions.partition import News, Partition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.client_errors import Verdict, judge
from lamplighter.kafka.settings.native import Consumer, KafkaError, KafkaException, TopicPartition

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds
AFTER = 5_000  # finished messages
SOON = 0.1  # seconds until a commit that was refused is sent again; twice as long after each further refusal


class Committer:
    """The commits of one consumer, used by its polling thread alone; one is under way at a time.

    Attributes:
        in_flight: a commit has been sent and not been answered.
        last_error: what the brokers said of the last commit; empty when they took it.
    """

    def __init__(
        self,
        partitions: dict[PartitionId, Partition],
        *,
        acknowledged: Callable[[Partition], object],
        changed: Callable[[], object],
        refused: Callable[[KafkaError], object],
    ) -> None:
        self.in_flight = False
        self.last_error = ""
        self._partitions = partitions
        self._acknowledged = acknowledged
        self._changed = changed
        self._refused = refused
        self._sent: dict[PartitionId, News] = {}
        self._last = time.monotonic()
        self._owners: dict[PartitionId, Partition] = {}
        self._not_before = 0.0
        self._refusals = 0
        self._is_bare = False
        self._pace = 0

    def commit_if_due(self, consumer: Consumer, now: float) -> None:
        """Send a commit when a second is over, when many are finished, or when something waits for it."""
        if self.in_flight or now < self._not_before:
            return
        if now - self._last >= EVERY or self._is_urgent():
            self._last = now
            self.commit(consumer)

    def commit(self, consumer: Consumer, *, is_last: bool = False) -> bool:
        """Send what there is to say, without waiting for the answer; whether there was anything."""
        news = self._news(self._partitions.values(), is_last=is_last)
        if not news:
            return False
        self._sent = news
        self._owners = {place: self._partitions[place] for place in news}
        try:
            consumer.commit(offsets=self._offsets(news), asynchronous=True)
            self.in_flight = True
        except KafkaException as error:
            self._failed(error.args[0], list(news))
        return True

    def commit_last(self, consumer: Consumer, partitions: Sequence[Partition]) -> None:
        """Commit and wait, before partitions go, so that their next owner does not run again what is finished."""
        news = self._news(partitions, is_last=True)
        if not news:
            return
        try:
            consumer.commit(offsets=self._offsets(news), asynchronous=False)
        except KafkaException as error:
            log.warning("commit at revocation failed; its jobs run again", extra={"reason": error.args[0].str()})

    def commit_beside(self, consumer: Consumer, partitions: Sequence[Partition]) -> None:
        """Commit and wait what jobs of these partitions wait for, while nothing is polled.

        The answer to a commit that is under way comes with the next poll. That one is older, and tells less.
        """
        if time.monotonic() < self._not_before or not any(partition.wants_commit for partition in partitions):
            return
        news = self._news(partitions, is_last=False)
        try:
            taken = consumer.commit(offsets=self._offsets(news), asynchronous=False) if news else None
        except KafkaException as error:
            self._failed(error.args[0], list(news))
            return
        for tp in taken or ():
            if tp.error is None:
                self._acknowledge(self._partitions[tp.topic, tp.partition], news[tp.topic, tp.partition])
            else:
                self._failed(tp.error, [(tp.topic, tp.partition)])

    def on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """The answer; called by the consumer."""
        self.in_flight = False
        if error is not None:
            self._failed(error, [(tp.topic, tp.partition) for tp in offsets])
            return
        self.last_error = ""
        if all(tp.error is None for tp in offsets):
            self._refusals = 0
        for tp in offsets:
            place = (tp.topic, tp.partition)
            if tp.error is not None:
                self._failed(tp.error, [place])
                continue
            partition, news = self._partitions.get(place), self._sent.get(place)
            # What an earlier assignment of the partition has sent says nothing about this one.
            is_ours = partition is self._owners.get(place)
            if partition is not None and news is not None and is_ours and news.position == tp.offset:
                self._acknowledge(partition, news)
        self._changed()

    def _acknowledge(self, partition: Partition, news: News) -> None:
        partition.acknowledge(news)
        self._acknowledged(partition)

    def _is_urgent(self) -> bool:
        finished = 0
        for partition in self._partitions.values():
            if partition.wants_commit:
                return True
            position = partition.tracker.position
            if position is not None:
                finished += position - max(partition.position, 0)
        return finished >= AFTER

    def _news(self, partitions: Iterable[Partition], *, is_last: bool) -> dict[PartitionId, News]:
        found = {}
        # Twice what was begun since the last commit; where that took long because jobs waited for it, half as before.
        self._pace = max(2 * sum(p.reach.count() for p in self._partitions.values()), self._pace // 2)
        for partition in partitions:
            partition.wants_commit = False
            news = partition.news(is_last=is_last, pace=self._pace)
            if news is not None:
                found[partition.topic, partition.number] = news
        return found

    def _offsets(self, news: dict[PartitionId, News]) -> list[TopicPartition]:
        return [
            TopicPartition(*place, one.position, "" if self._is_bare else one.text, one.epoch)
            for place, one in news.items()
        ]

    def _failed(self, error: KafkaError, places: Sequence[PartitionId]) -> None:
        verdict = judge(error)
        self.last_error = error.str()
        # While a group changes, a commit waits behind the join on its connection, and is refused after it. So much is
        # finished then that a crash would repeat that the next one must not wait for a second more.
        self._not_before = time.monotonic() + min(EVERY, SOON * 2**self._refusals)
        self._refusals = min(self._refusals + 1, 10)
        for place in places:
            partition = self._partitions.get(place)
            if partition is not None:
                partition.wants_commit = True
        if verdict is Verdict.FATAL:
            self._refused(error)
        elif verdict is Verdict.METADATA:
            self._is_bare = True
            self._not_before = 0.0
            log.error("commit metadata refused; going on without", extra={"reason": error.str()})
        else:
            said = ", ".join(f"{topic}[{number}]" for topic, number in places)
            log.warning("commit refused; trying again", extra={"reason": error.str(), "partitions": said})
