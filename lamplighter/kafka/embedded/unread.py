"""Counts what nobody has read on the embedded broker, for the broker itself."""

from collections.abc import Callable

from lamplighter.kafka.embedded.topics import TopicReaders
from lamplighter.kafka.monitoring.brokers import Brokers
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.native import IsolationLevel


class UnreadRecords:
    """Asks the broker for offsets alone: what others have written can't do anything to its process.

    Args:
        readers: who reads what, as far as it is known at the moment.
    """

    def __init__(self, address: str, readers: Callable[[], TopicReaders]) -> None:
        self._brokers = Brokers({"bootstrap.servers": address}, is_embedded=True)
        self._readers = readers

    def count(self) -> dict[str, int]:
        """By topic, how many records at least one of its groups has not read; without a topic that has none.

        Raises:
            QueueError: the broker does not answer.
            ValueError, OSError: it is not known who reads what.
        """
        readers = self._readers()
        places = [(topic, number) for topic, numbers in self._brokers.topics().items() for number in numbers]
        logs = self._brokers.logs(places, isolation=IsolationLevel.READ_UNCOMMITTED)
        committed = {group: self._committed(group, places) for group in readers.every_group()}
        found: dict[str, int] = {}
        for place, log in logs.items():
            topic = place[0]
            begun = [group for group, offsets in committed.items() if topic in {name for name, _ in offsets}]
            groups = readers.groups_of(topic, begun=begun)
            if groups is None:
                first = log.start
            else:
                first = min((log.first_open(committed[group].get(place, -1)) for group in groups), default=log.end)
            if first < log.end:
                found[topic] = found.get(topic, 0) + log.end - first
        return found

    def _committed(self, group: str, places: list[PartitionId]) -> dict[PartitionId, int]:
        """What a group has committed, of the partitions of which it has."""
        found = self._brokers.committed(group, places)
        return {place: tp.offset for place, tp in found.items() if tp.offset >= 0}
