"""Asks brokers what a consumer group has done and who is in it, without being a member."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lamplighter.errors import QueueError
from lamplighter.kafka.monitoring.brokers import Brokers
from lamplighter.kafka.monitoring.lag import Log, PartitionLag, measure
from lamplighter.kafka.monitoring.member import commit_as_member
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.reading.records import Records
from lamplighter.kafka.reading.spans import Span
from lamplighter.kafka.settings.native import IsolationLevel, TopicPartition
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.topics.metadata import metadata_of

FROM_END = ("latest", "largest", "end")  # librdkafka's words


@dataclass(frozen=True, slots=True)
class Member:
    """A worker, as its group knows it; `instance` is the group_instance_id of a static one."""

    id: str
    client: str
    host: str
    instance: str = ""
    partitions: Sequence[PartitionId] = ()


@dataclass(frozen=True, slots=True)
class GroupLag:
    """A group and the partitions that it works.

    Attributes:
        state: such as stable, empty, dead (there is no such group); blank where the brokers can't tell.
        protocol: classic or consumer; blank where the brokers can't tell.
        members: None where the brokers can't tell.
    """

    group: str
    state: str = ""
    protocol: str = ""
    members: Sequence[Member] | None = None
    partitions: Sequence[PartitionLag] = ()
    owners: Mapping[PartitionId, int] = field(default_factory=dict)

    def left_cleanly(self, lag: PartitionLag) -> bool | None:
        """Whether the last owner has left in order; None while there is one, and where that is not known."""
        if (lag.topic, lag.number) in self.owners:
            return None
        if self.members is None and not lag.is_clean:
            return None  # it may be at work
        return lag.is_clean


class GroupReader:
    """One group of a connection's brokers; it keeps its clients until `close`."""

    def __init__(self, settings: KafkaSettings, config: Mapping[str, Any], *, group: str = "") -> None:
        self._settings = settings
        consumer = settings.consumer_config()
        self._group = group or settings.group
        self._is_from_end = consumer["auto.offset.reset"] in FROM_END
        self._isolation = isolation_of(consumer)
        self._brokers = Brokers(config, is_embedded=settings.is_embedded)
        self._records = Records(config)

    def read(self, topics: Sequence[str] = ()) -> GroupLag:
        """The group with these topics, or with those that it works.

        Raises:
            QueueError: a topic is missing, or the brokers refuse to tell.
            BrokerUnavailable: no broker answers.
        """
        found = self._describe()
        return replace(found, partitions=self.lags(topics or self._worked(found)))

    def lags(self, topics: Sequence[str]) -> list[PartitionLag]:
        """What is left of each partition of some topics.

        Raises:
            QueueError: a topic is missing, or the brokers refuse to tell.
            BrokerUnavailable: no broker answers.
        """
        places = self._brokers.places(topics)
        # First, so that a worker which goes on meanwhile has not committed more than there is.
        committed = self._brokers.committed(self._group, places)
        logs = self._brokers.logs(places, isolation=self._isolation)
        lags = [self._measure(place, committed, logs[place]) for place in places]
        seen = self._records.look(
            {(lag.topic, lag.number): Span(lag.first_open, lag.readable_to) for lag in lags if lag.lag}
        )
        return [lag.with_first(seen[lag.topic, lag.number]) if (lag.topic, lag.number) in seen else lag for lag in lags]

    def pass_over(self, topic: str) -> int:
        """Have the group, which must have no members, go on at the end of a topic; how many jobs it passes over.

        What an open transaction has written is not there yet, and is not passed over.

        Raises:
            QueueError: the group has members, the topic is missing, or the brokers refuse.
            BrokerUnavailable: no broker answers.
        """
        behind = [lag for lag in self.lags([topic]) if lag.lag]
        ends = {(lag.topic, lag.number): lag.readable_to for lag in behind}
        if ends and not self._set_committed(ends):
            raise QueueError(
                f"The group {self._group} has members: its workers would not hear of it. Stop them all, wait until the "
                f"brokers have seen that, and try again."
            )
        return sum(lag.left for lag in behind)

    def _set_committed(self, offsets: Mapping[PartitionId, int]) -> bool:
        if not self._settings.is_embedded:
            return self._brokers.set_committed(self._group, offsets)
        config = {**self._settings.consumer_config(), "bootstrap.servers": self._brokers.names, "group.id": self._group}
        return commit_as_member(config, offsets)

    def close(self) -> None:
        """Let go of the clients."""
        self._records.close()

    def _describe(self) -> GroupLag:
        try:
            group = self._brokers.describe(self._group)
        except LookupError:
            return GroupLag(self._group, "dead", members=())
        if group is None:  # the embedded broker
            return GroupLag(self._group)
        members = [_member(one) for one in group.members]
        owners = {place: number for number, one in enumerate(members, 1) for place in one.partitions}
        state = group.state.name.lower()
        # Of a group that is not there the brokers say that it is a classic one.
        protocol = "" if state == "dead" else group.type.name.lower()
        return GroupLag(self._group, state, protocol, members, owners=owners)

    def _worked(self, group: GroupLag) -> list[str]:
        """The topics that a group works, and the connection's own."""
        committed: Iterable[PartitionId] = () if self._settings.is_embedded else self._brokers.committed(self._group)
        there = self._brokers.topics()
        seen = {topic for topic, _ in (*committed, *group.owners)}
        worked = sorted(seen & set(there))
        # Where workers name their queues, nobody may need the connection's own.
        is_shown = self._settings.queue in there or not worked
        return list(dict.fromkeys((self._settings.queue, *worked))) if is_shown else worked

    def _measure(self, place: PartitionId, known: Mapping[PartitionId, TopicPartition], log: Log) -> PartitionLag:
        committed = known.get(place)
        # A partition that was added to a topic which the group works is begun at its beginning.
        is_new = all(one.offset < 0 for (topic, _), one in known.items() if topic == place[0])
        return measure(
            *place,
            log,
            committed=committed.offset if committed is not None else -1,
            metadata=metadata_of(committed) if committed is not None else None,
            from_end=self._is_from_end and is_new,
        )


def isolation_of(config: Mapping[str, Any]) -> IsolationLevel:
    """What a client with this configuration reads of transactions that are open."""
    is_uncommitted = config.get("isolation.level") == "read_uncommitted"
    return IsolationLevel.READ_UNCOMMITTED if is_uncommitted else IsolationLevel.READ_COMMITTED


def _member(found: Any) -> Member:
    assigned = found.assignment.topic_partitions if found.assignment is not None else ()
    return Member(
        found.member_id,
        found.client_id,
        found.host.lstrip("/"),
        found.group_instance_id or "",
        tuple(sorted((tp.topic, tp.partition) for tp in assigned)),
    )
