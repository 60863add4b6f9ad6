"""What the brokers of a connection tell whoever asks: topics, offsets, groups. Nobody joins a group for it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.monitoring.lag import Log
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.native import (
    AdminClient,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    OffsetSpec,
    TopicPartition,
)
from lamplighter.kafka.topics.metadata import missing_text
from lamplighter.support.made_once import MadeOnce

TIMEOUT = 8.0  # seconds for one question
AWAY = (
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,  # of a leader that was elected at this moment
)

HAS_MEMBERS = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.NON_EMPTY_GROUP)

FIRST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LAST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]

Answers = Mapping[TopicPartition, "Future[Any]"]


class Brokers:
    """Asks by one client, which is made when it is first needed and kept.

    Args:
        is_embedded: the embedded broker, which makes topics where they are asked for.
    """

    def __init__(self, config: Mapping[str, Any], *, is_embedded: bool = False) -> None:
        self.names = str(config["bootstrap.servers"])
        self._config: dict[str, Any] = {**config, "log_level": 0}  # what goes wrong is raised
        self._is_embedded = is_embedded
        self._made = MadeOnce(lambda: AdminClient(self._config))

    @property
    def _admin(self) -> AdminClient:
        # Futures of the client end with it, so it is kept.
        return self._made.get()

    # topics ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def topics(self) -> Mapping[str, Collection[int]]:
        """All topics with the numbers of their partitions; asking for all makes none.

        Raises:
            BrokerUnavailable: no broker answers.
            QueueError: the brokers refuse. So does each method here.
        """
        with self._translated("their topics"):
            found = self._admin.list_topics(timeout=TIMEOUT).topics
        return {name: sorted(topic.partitions) for name, topic in found.items()}

    def places(self, topics: Sequence[str]) -> list[PartitionId]:
        """The partitions of some topics; on the embedded broker this makes them.

        Raises:
            QueueError: one is missing.
        """
        there = self._made_topics(topics) if self._is_embedded else self.topics()
        missing = [topic for topic in topics if not there.get(topic)]
        if missing:
            raise QueueError(missing_text(missing, self.names))
        return [(topic, number) for topic in topics for number in there[topic]]

    def _made_topics(self, topics: Sequence[str]) -> Mapping[str, Collection[int]]:
        with self._translated("their topics"):
            return {
                name: sorted(self._admin.list_topics(name, timeout=TIMEOUT).topics[name].partitions) for name in topics
            }

    def logs(self, places: Iterable[PartitionId], *, isolation: IsolationLevel) -> dict[PartitionId, Log]:
        """Where partitions begin and end, and how far a client with this isolation level can read them."""
        asked = list(places)
        with self._translated("the offsets of their topics"):
            # Asked for last: what can be read is never beyond the end, unless something was written in between.
            questions = [
                self.ask(asked, FIRST, isolation=IsolationLevel.READ_UNCOMMITTED),
                self.ask(asked, LAST, isolation=isolation),
                self.ask(asked, LAST, isolation=IsolationLevel.READ_UNCOMMITTED),
            ]
            starts, readable, ends = map(_offsets, questions)
        return {place: Log(starts[place], min(readable[place], ends[place]), ends[place]) for place in asked}

    def ask(self, places: Iterable[PartitionId], spec: Any, *, isolation: IsolationLevel) -> Answers:
        """Ask for one offset of each partition; nobody waits for the answers but who looks at them.

        Raises:
            KafkaException: the client does not take the question.
        """
        wanted = {TopicPartition(*place): spec for place in places}
        if not wanted:
            return {}
        return self._admin.list_offsets(wanted, isolation_level=isolation, request_timeout=TIMEOUT)

    # groups ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, group: str, places: Sequence[PartitionId] | None = None) -> dict[PartitionId, TopicPartition]:
        """What a group has committed of these partitions, or of all; the embedded broker knows no "all"."""
        if places is not None and not places:
            return {}
        wanted = None if places is None else [TopicPartition(*place) for place in places]
        asked = ConsumerGroupTopicPartitions(group, wanted)
        with self._translated(f"what the group {group} has committed"):
            found = self._admin.list_consumer_group_offsets([asked])[group]
            committed = {(tp.topic, tp.partition): tp for tp in found.result(TIMEOUT).topic_partitions}
            for place in places or ():
                # Without it the group would seem to have done nothing.
                if (tp := committed.get(place)) is not None and tp.error is not None:
                    raise KafkaException(tp.error)
        return {place: tp for place, tp in committed.items() if tp.error is None}

    def set_committed(self, group: str, offsets: Mapping[PartitionId, int]) -> bool:
        """Have a group go on at these offsets; False where the brokers refuse that since the group has members."""
        wanted = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        asked = ConsumerGroupTopicPartitions(group, wanted)
        with self._translated(f"the group {group} to go on elsewhere", verb="let"):
            try:
                told = self._admin.alter_consumer_group_offsets([asked], request_timeout=TIMEOUT)[group].result(TIMEOUT)
                for error in (tp.error for tp in told.topic_partitions if tp.error is not None):
                    raise KafkaException(error)
            except KafkaException as refusal:
                if refusal.args[0].code() in HAS_MEMBERS:
                    return False
                raise
        return True

    def describe(self, group: str) -> Any | None:
        """A group as the client tells it; None where the brokers don't know the question, as the embedded one.

        Raises:
            LookupError: there is no such group.
        """
        with self._translated(f"who is in the group {group}"):
            try:
                return self._admin.describe_consumer_groups([group])[group].result(TIMEOUT)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    raise LookupError(group) from error
                if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
                    return None
                raise

    @contextmanager
    def _translated(self, what: str, *, verb: str = "tell") -> Iterator[None]:
        """Raise errors of the client as ours."""
        right = "describe" if verb == "tell" else "read"
        try:
            yield
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() in AWAY:
                raise BrokerUnavailable(f"The brokers {self.names} can't be reached: {reason.str()}") from error
            raise QueueError(
                f"The brokers {self.names} don't {verb} {what}: {reason.str()}. It needs the right to {right} groups "
                f"and topics."
            ) from error
        except TimeoutError as error:
            self._made.forget()  # a question about a group ends with its client alone
            raise BrokerUnavailable(f"The brokers {self.names} did not answer within {TIMEOUT:g} s.") from error


def _offsets(answers: Answers) -> dict[PartitionId, int]:
    return {(tp.topic, tp.partition): answer.result(TIMEOUT + 1).offset for tp, answer in answers.items()}
