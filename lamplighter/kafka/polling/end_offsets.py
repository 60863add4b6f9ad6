"""How far the assigned partitions go, as far as their brokers have said."""

import logging
from collections.abc import Iterable

from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.failed_looks import FailedLooks
from lamplighter.kafka.settings.native import Consumer, TopicPartition

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two looks


class Ends:
    """The ends of partitions; kept by the polling thread, read by any."""

    def __init__(self) -> None:
        self._high: dict[PartitionId, int] = {}
        self._read: dict[PartitionId, int] = {}
        self._next = 0.0
        self._failed = FailedLooks(log, "the ends of partitions can't be looked at")

    def look(self, consumer: Consumer, partitions: Iterable[Partition], now: float) -> None:
        """Take over what the last fetches have told; no broker is asked."""
        if now < self._next:
            return
        self._next = now + EVERY
        try:
            self._look(consumer, partitions)
        except Exception as error:  # polling must not end by a look that only helps
            self._failed.tell(error)

    def _look(self, consumer: Consumer, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            place = TopicPartition(partition.topic, partition.number)
            high = consumer.get_watermark_offsets(place, cached=True)[1]
            if high >= 0:
                self._high[partition.topic, partition.number] = high

    def reached(self, place: PartitionId, end: int) -> None:
        """A partition was read up to here: transactions end in markers that are never delivered."""
        self._read[place] = end

    def forget(self, place: PartitionId) -> None:
        """The log is not as long any more as it was."""
        self._high.pop(place, None)
        self._read.pop(place, None)

    def left(self, partition: Partition) -> int:
        """How much of a partition is not finished: delivered messages, and offsets that were not read.

        Whoever acts on it has to ask the brokers whether these can be read: an open transaction may have them.
        """
        return partition.tracker.left + self.end(partition) - self.read_to(partition)

    def end(self, partition: Partition) -> int:
        """The end of a partition, at least what has come of it."""
        return max(self._high.get((partition.topic, partition.number), 0), self.read_to(partition))

    def read_to(self, partition: Partition) -> int:
        """How far a partition was read, transactions' markers included."""
        read = self._read.get((partition.topic, partition.number), 0)
        return max(partition.intake.expected, partition.position, read)
