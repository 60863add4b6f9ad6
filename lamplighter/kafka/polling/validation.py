"""Has the client ask whether a log was cut off before a committed offset, and is longer again by now (KIP-320)."""

from collections.abc import Iterable

from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.native import Consumer, TopicPartition


class Validation:
    """The commits that assignments begin with, as far as they were not looked at; used by one thread.

    The client asks the brokers by itself when a partition changes its leader while it is fetched, but not where that
    happened before. A commit carries the leader epoch of the last record before it. Records of one epoch stand in one
    log, so only a later one is a reason to ask.
    """

    def __init__(self) -> None:
        self._committed: dict[PartitionId, TopicPartition] = {}

    def expect(self, committed: Iterable[TopicPartition]) -> None:
        """These partitions are assigned, with what was committed of them."""
        for tp in committed:
            if tp.offset >= 0 and tp.leader_epoch is not None and tp.leader_epoch >= 0:
                self._committed[tp.topic, tp.partition] = tp
            else:
                self._committed.pop((tp.topic, tp.partition), None)

    def begin(self, consumer: Consumer, place: PartitionId, epoch: int | None) -> bool:
        """Have the first fetch of a partition repeated where that is needed; False where its records are good.

        Args:
            epoch: the leader epoch of the first record; None where the partition was read to its end without one.
        """
        committed = self._committed.pop(place, None)
        if committed is None or (epoch is not None and epoch <= (committed.leader_epoch or 0)):
            return False
        consumer.seek(TopicPartition(*place, committed.offset, "", committed.leader_epoch or 0))
        return True

    def forget(self, place: PartitionId) -> None:
        """The topic was made anew."""
        self._committed.pop(place, None)
