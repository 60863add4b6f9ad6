"""Partitions that a group of static members has given to nobody, and how a member has them given out."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.native import (
    AdminClient,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    TopicCollection,
)

log = logging.getLogger(__name__)

REFRESH = 10.0  # seconds, where the client does not look for added partitions by itself
REFRESHES = 1.5  # between two looks: what the members notice by themselves is given out by then
SOONEST = 3.0  # seconds between two looks at least
TIMEOUT = 8.0  # seconds until brokers that don't answer are asked again at the next look
LEAVE = 5.0  # seconds for leaving the group at most, until it is joined again


def is_needed(config: Mapping[str, Any]) -> bool:
    """Whether a consumer is a static member, and its group's protocol has members share out."""
    return "group.instance.id" in config and config.get("group.protocol", "classic") == "classic"


class Unowned:
    """Looks at the group of a static member from outside; used by the thread that polls, and never waits for brokers.

    A static member that comes back is handed what it had, and the group is not shared out anew (KIP-345). Its client
    compares the topics with what it found at its own start. So where all members were started again, nobody notices
    the partitions that were added meanwhile.

    Of several members one acts: the first by its name, and the next ones later and later, where the first does not.
    """

    def __init__(self, config: Mapping[str, Any], topics: Sequence[str]) -> None:
        self._group = str(config["group.id"])
        self._name = str(config["group.instance.id"])
        self._config = {key: value for key, value in config.items() if not key.startswith("group.")}
        self._topics = list(topics)
        refresh = float(config.get("topic.metadata.refresh.interval.ms", 0)) / 1000
        self._every = max(SOONEST, REFRESHES * (refresh if refresh > 0 else REFRESH))
        self._admin: AdminClient | None = None
        self._asked: list[Future[Any]] = []
        self._asked_at = time.monotonic()  # the first look waits, so that the first job does not
        self._seen: set[PartitionId] = set()
        self._times = 0  # looks in a row that have found the same as the one before
        self._needed = 1  # of these until the first member acts; doubled with each time that it was of no use

    def are_there(self, now: float) -> bool:
        """Whether this member should leave the group and join it again, by which all partitions are given out anew."""
        if not self._asked:
            if now - self._asked_at >= self._every:
                self._asked_at = now
                self._ask()
            return False
        if not all(answer.done() for answer in self._asked):
            if now - self._asked_at >= TIMEOUT:
                self._asked, self._admin = [], None  # a question about a group ends with its client alone
            return False
        asked, self._asked = self._asked, []
        try:
            group, *topics = [answer.result(0) for answer in asked]
        except KafkaException as error:
            log.debug("the group can't be looked at", extra={"group": self._group, "reason": error.args[0].str()})
            if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
                self._every = float("inf")  # the embedded broker never tells
            return False
        return self._judge(group, topics)

    def _ask(self) -> None:
        if self._admin is None:
            self._admin = AdminClient({**self._config, "log_level": 0})
        topics = self._admin.describe_topics(TopicCollection(self._topics), request_timeout=TIMEOUT)
        self._asked = [*self._admin.describe_consumer_groups([self._group]).values(), *topics.values()]

    def _judge(self, group: Any, topics: Collection[Any]) -> bool:
        names = sorted(member.group_instance_id for member in group.members if member.group_instance_id)
        if group.state != ConsumerGroupState.STABLE or self._name not in names:
            self._times, self._seen = 0, set()
            return False
        owned = {place for member in group.members for place in _given(member)}
        there = {(topic.name, partition.id) for topic in topics for partition in topic.partitions}
        still, self._seen = self._seen & (there - owned), there - owned
        if not self._seen:
            self._needed = 1
        self._times = self._times + 1 if still else 0
        if self._times < self._needed + names.index(self._name):
            return False
        self._times = 0
        self._needed *= 2
        log.warning(
            "a group has given partitions to nobody; this member leaves it and joins it again, so that all of them are "
            "given out",
            extra={
                "group": self._group,
                "partitions": ", ".join(f"{name}[{number}]" for name, number in sorted(still)),
            },
        )
        return True


class Rejoining:
    """Has a member leave its group and join it again, by which the group gives out all partitions anew.

    Unsubscribing is what makes a static member leave: it gives away its partitions as in any rebalance.
    """

    def __init__(self, unowned: Unowned, subscribe: Callable[[Consumer], None]) -> None:
        self._unowned = unowned
        self._subscribe = subscribe
        self._by = 0.0

    def look(self, consumer: Consumer, now: float) -> bool:
        """Go on with it, or begin where it is needed; whether this member leaves now."""
        if self._by:
            if not consumer.memberid() or now > self._by:
                self._by = 0.0
                self._subscribe(consumer)
            return False
        if not self._unowned.are_there(now):
            return False
        consumer.unsubscribe()
        self._by = now + LEAVE
        return True


def _given(member: Any) -> set[PartitionId]:
    parts = member.assignment.topic_partitions if member.assignment is not None else ()
    return {(tp.topic, tp.partition) for tp in parts}
