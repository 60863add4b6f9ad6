"""Counts what nobody has read on the embedded broker, for the broker itself."""

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, TopicPartition

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.topics import TopicReaders
from lamplighter.kafka.settings.native import Consumer

TIMEOUT = 5.0  # seconds for one question
NO_GROUP = "lamplighter-unread"
Place = tuple[str, int]


class UnreadRecords:
    """Asks the broker for offsets alone: what others have written can't do anything to its process.

    Args:
        readers: who reads what, as far as it is known at the moment.
    """

    def __init__(self, address: str, readers: Callable[[], TopicReaders]) -> None:
        self._address = address
        self._readers = readers
        self._clients: dict[str, Consumer] = {}

    def count(self) -> dict[str, int]:
        """By topic, how many records at least one of its groups has not read; without a topic that has none.

        Raises:
            BrokerUnavailable: the broker does not answer.
            ValueError, OSError: it is not known who reads what.
        """
        readers = self._readers()
        try:
            starts, ends = self._bounds()
            committed = {group: self._committed(group, ends) for group in readers.every_group()}
        except KafkaException as error:
            raise BrokerUnavailable(f"The embedded broker does not answer itself: {error.args[0].str()}") from error
        found: dict[str, int] = {}
        for place, end in ends.items():
            topic = place[0]
            begun = [group for group, offsets in committed.items() if topic in {name for name, _ in offsets}]
            groups = readers.groups_of(topic, begun=begun)
            if groups is None:
                first = starts[place]
            else:
                firsts = [max(starts[place], committed[group].get(place, 0)) for group in groups]
                first = min(firsts, default=end)
            if first < end:
                found[topic] = found.get(topic, 0) + end - first
        return found

    def _bounds(self) -> tuple[Mapping[Place, int], Mapping[Place, int]]:
        client = self._client(NO_GROUP)
        topics = client.list_topics(timeout=TIMEOUT).topics
        places = [(name, number) for name, topic in topics.items() for number in topic.partitions]
        return self._offsets(client, places, OFFSET_BEGINNING), self._offsets(client, places, OFFSET_END)

    def _offsets(self, client: Consumer, places: list[Place], which: int) -> dict[Place, int]:
        asked = [TopicPartition(*place, which) for place in places]
        return _by_place(client.offsets_for_times(asked, timeout=TIMEOUT) if asked else [])

    def _committed(self, group: str, places: Mapping[Place, int]) -> dict[Place, int]:
        """What a group has committed, of the partitions of which it has."""
        asked = [TopicPartition(*place) for place in places]
        found = _by_place(self._client(group).committed(asked, timeout=TIMEOUT) if asked else [])
        return {place: offset for place, offset in found.items() if offset >= 0}

    def _client(self, group: str) -> Consumer:
        if group not in self._clients:
            config: dict[str, Any] = {"bootstrap.servers": self._address, "group.id": group, "log_level": 0}
            self._clients[group] = Consumer({**config, "enable.auto.commit": False})
        return self._clients[group]


def _by_place(found: list[TopicPartition]) -> dict[Place, int]:
    for tp in found:
        if tp.error is not None:
            raise KafkaException(tp.error)
    return {(tp.topic, tp.partition): tp.offset for tp in found}
