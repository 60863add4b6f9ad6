"""Asks brokers what a consumer group has done and who is in it, without being a member."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the stubs name only the client as exported
    OffsetSpec,
)

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.monitoring.lag import PartitionLag, measure
from lamplighter.kafka.reading.records import Records
from lamplighter.kafka.settings.native import AdminClient
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.kafka.topics.metadata import metadata_of, missing_text
from lamplighter.support.forking import watch

TIMEOUT = 8.0  # seconds for one question to the brokers
AWAY = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE)

FIRST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LAST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Member:
    """A worker, as its group knows it; `instance` is the group_instance_id of a static one."""

    id: str
    client: str
    host: str
    instance: str = ""
    partitions: Sequence[Place] = ()


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
    owners: Mapping[Place, int] = field(default_factory=dict)

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
        self._group = group or settings.consumer_group_id
        self._brokers = str(config["bootstrap.servers"])
        self._config: dict[str, Any] = {**config, "log_level": 0}  # what goes wrong is raised
        self._made: AdminClient | None = None
        self._records = Records(config)
        watch(self, in_child=GroupReader._begin_as_child)

    def read(self, topics: Sequence[str] = ()) -> GroupLag:
        """The group with these topics, or with those that it works.

        Raises:
            QueueError: a topic is missing, or the brokers refuse to tell.
            BrokerUnavailable: no broker answers.
        """
        try:
            found = self._describe()
            known = self._committed(())
            wanted = topics or self._worked(found, known)
            places = self._places(wanted)
            committed = known if not self._settings.is_embedded else self._committed(places)
            starts = self._offsets(places, FIRST)
            ends = self._offsets(places, LAST)
            lags = [self._measure(place, committed, starts[place], ends[place]) for place in places]
            return replace(found, partitions=self._records.look(lags))
        except KafkaException as error:
            raise self._error(error.args[0]) from error
        except TimeoutError as error:
            raise BrokerUnavailable(f"The brokers {self._brokers} did not answer within {TIMEOUT:g} s.") from error

    def close(self) -> None:
        """Let go of the clients."""
        self._records.close()

    @property
    def _admin(self) -> AdminClient:
        # Futures of the client end with it, so it is kept.
        if self._made is None:
            self._made = AdminClient(self._config)
        return self._made

    def _begin_as_child(self) -> None:
        self._made = None

    def _describe(self) -> GroupLag:
        try:
            group = self._await(self._admin.describe_consumer_groups([self._group], request_timeout=TIMEOUT))
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return GroupLag(self._group, "dead", members=())
            if code == KafkaError._UNSUPPORTED_FEATURE:  # the embedded broker
                return GroupLag(self._group)
            raise
        members = [_member(one) for one in group.members]
        owners = {place: number for number, one in enumerate(members, 1) for place in one.partitions}
        state = group.state.name.lower()
        # Of a group that is not there the brokers say that it is a classic one.
        protocol = "" if state == "dead" else group.type.name.lower()
        return GroupLag(self._group, state, protocol, members, owners=owners)

    def _committed(self, places: Sequence[Place]) -> dict[Place, TopicPartition]:
        """What is committed of these partitions, or of all; the embedded broker knows no "all"."""
        asked = ConsumerGroupTopicPartitions(self._group, [TopicPartition(*place) for place in places] or None)
        answer = self._await(self._admin.list_consumer_group_offsets([asked], request_timeout=TIMEOUT))
        return {(tp.topic, tp.partition): tp for tp in answer.topic_partitions if tp.error is None}

    def _worked(self, group: GroupLag, committed: Iterable[Place]) -> list[str]:
        there = self._admin.list_topics(timeout=TIMEOUT).topics
        seen = {topic for topic, _ in (*committed, *group.owners)}
        worked = sorted(seen & set(there))
        # Where workers name their queues, nobody may need the connection's own.
        is_shown = self._settings.queue in there or not worked
        return list(dict.fromkeys((self._settings.queue, *worked))) if is_shown else worked

    def _places(self, topics: Sequence[str]) -> list[Place]:
        places: list[Place] = []
        missing = []
        there = {} if self._settings.is_embedded else self._admin.list_topics(timeout=TIMEOUT).topics
        for topic in topics:
            # Asking for a topic by its name makes it, where brokers do that by themselves; the embedded one has to.
            if self._settings.is_embedded:
                there = self._admin.list_topics(topic, timeout=TIMEOUT).topics
            found = there.get(topic)
            if found is None or found.error is not None or not found.partitions:
                missing.append(topic)
                continue
            places += [(topic, number) for number in sorted(found.partitions)]
        if missing:
            raise QueueError(missing_text(missing, self._brokers))
        return places

    def _offsets(self, places: Sequence[Place], spec: Any) -> dict[Place, int]:
        wanted = {TopicPartition(*place): spec for place in places}
        futures = self._admin.list_offsets(wanted, request_timeout=TIMEOUT) if wanted else {}
        return {(tp.topic, tp.partition): future.result(TIMEOUT + 1).offset for tp, future in futures.items()}

    def _measure(self, place: Place, known: Mapping[Place, TopicPartition], start: int, end: int) -> PartitionLag:
        committed = known.get(place)
        # A partition that was added to a topic which the group works is begun at its beginning.
        is_new = all(one.offset < 0 for (topic, _), one in known.items() if topic == place[0])
        return measure(
            *place,
            committed=committed.offset if committed is not None else -1,
            metadata=metadata_of(committed) if committed is not None else None,
            start=start,
            end=end,
            from_end=self._settings.auto_offset_reset == "latest" and is_new,
        )

    def _await(self, futures: "Mapping[str, Future[Any]]") -> Any:
        return futures[self._group].result(TIMEOUT + 1)

    def _error(self, error: KafkaError) -> QueueError:
        if error.code() in AWAY:
            return BrokerUnavailable(f"The brokers {self._brokers} can't be reached: {error.str()}")
        return QueueError(
            f"The brokers {self._brokers} don't tell about the group {self._group}: {error.str()}. It needs the right "
            f"to describe the group and its topics."
        )


def _member(found: Any) -> Member:
    assigned = found.assignment.topic_partitions if found.assignment is not None else ()
    return Member(
        found.member_id,
        found.client_id,
        found.host.lstrip("/"),
        found.group_instance_id or "",
        tuple(sorted((tp.topic, tp.partition) for tp in assigned)),
    )
