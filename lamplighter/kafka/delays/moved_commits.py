"""Commits of what a mover has moved: one after the other, and what is refused is told and sent again."""

import logging
import time
from collections.abc import Iterable, Mapping

from lamplighter.kafka.delays.delay_partition import DelayPartition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.client_errors import Verdict, judge
from lamplighter.kafka.settings.native import Consumer, KafkaError, KafkaException, TopicPartition

log = logging.getLogger(__name__)

EVERY = 0.2  # seconds between two commits


class MovedCommits:
    """Used by the mover alone; a commit that is lost repeats jobs and loses none.

    Attributes:
        is_under_way: a commit has no answer so far.
    """

    def __init__(self, partitions: Mapping[PartitionId, DelayPartition]) -> None:
        self.is_under_way = False
        self._partitions = partitions
        self._is_bare = False  # the brokers refuse metadata
        self._sent_at = 0.0

    def commit_if_due(self, consumer: Consumer) -> None:
        """Send what there is to say, where the last commit has its answer and is old enough."""
        if not self.is_under_way and time.monotonic() - self._sent_at >= EVERY:
            self.commit(consumer)

    def commit(self, consumer: Consumer) -> None:
        """Send what there is to say, without waiting for the answer."""
        self._sent_at = time.monotonic()
        self._send(consumer, self._partitions.values(), asynchronous=True)

    def commit_last(self, consumer: Consumer, partitions: Iterable[DelayPartition]) -> None:
        """Commit and wait, before partitions go."""
        self._send(consumer, partitions, asynchronous=False)

    def on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """The answer; called by the consumer."""
        self.is_under_way = False
        if error is not None:
            self._refuse(error)
            return
        for tp in offsets:
            partition = self._partitions.get((tp.topic, tp.partition))
            if tp.error is not None:
                self._refuse(tp.error)
            elif partition is not None:
                partition.committed = tp.offset

    def _send(self, consumer: Consumer, partitions: Iterable[DelayPartition], *, asynchronous: bool) -> None:
        news = {partition: position for partition in partitions if (position := partition.news()) is not None}
        if not news:
            return
        offsets = [partition.commit_of(position, is_bare=self._is_bare) for partition, position in news.items()]
        try:
            if asynchronous:
                consumer.commit(offsets=offsets, asynchronous=True)
                self.is_under_way = True
                return
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._refuse(error.args[0])

    def _refuse(self, error: KafkaError) -> None:
        # What is not committed is moved again by the next owner, which repeats jobs and loses none.
        self._is_bare = self._is_bare or judge(error) is Verdict.METADATA
        level = logging.ERROR if judge(error) is Verdict.FATAL else logging.WARNING
        log.log(level, "a commit of moved jobs was refused; trying again", extra={"reason": error.str()})
