"""Partitions that a group of static members has given to nobody, and how a member has them given out."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.failed_looks import FailedLooks
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

    With `cooperative-sticky`, a partition that changes its owner has none while the old owner finishes its jobs in
    hand, and the group is stable meanwhile. So a member acts when a partition was without an owner for longer than
    that takes. Of several members one acts: the first by its name, and the next ones later and later, where the first
    does not. A partition that has no owner even after the group was shared out anew, whoever was the reason, is waited
    for twice as long by each member.

    Args:
        wait: seconds that a member of this group takes at most to give a partition away.

    Attributes:
        topics: what the group is subscribed to.
    """

    def __init__(self, config: Mapping[str, Any], topics: Sequence[str], *, wait: float) -> None:
        self.topics = list(topics)
        self._group = str(config["group.id"])
        self._name = str(config["group.instance.id"])
        self._config = {key: value for key, value in config.items() if not key.startswith("group.")}
        refresh = float(config.get("topic.metadata.refresh.interval.ms", 0)) / 1000
        self._every = max(SOONEST, REFRESHES * (refresh if refresh > 0 else REFRESH))
        self._wait = wait
        self._admin: AdminClient | None = None
        self._asked: list[Future[Any]] = []
        self._asked_at = time.monotonic()  # the first look waits, so that the first job does not
        self._failed = FailedLooks(log, "the group can't be looked at for partitions without an owner")
        self._since: dict[PartitionId, float] = {}  # of each that has no owner; or since the group was shared out anew
        self._times: dict[PartitionId, int] = {}  # as long is each waited for
        self._given: dict[str, set[PartitionId]] = {}  # what each member had at the last look
        self._is_shared_out = False

    def are_there(self, now: float) -> bool:
        """Whether this member should leave the group and join it again, by which all partitions are given out anew."""
        try:
            return self._look(now)
        except Exception as error:  # polling must not end by a look that only helps
            self._asked, self._admin = [], None
            self._failed.tell(error)
            return False

    def shared_out(self) -> None:
        """The group has given out its partitions anew, as this member's client has told."""
        self._is_shared_out = True

    def _look(self, now: float) -> bool:
        if not self._asked:
            if now - self._asked_at >= self._every:
                self._asked_at = now
                self._ask()
            return False
        is_late = now - self._asked_at >= TIMEOUT
        if not all(answer.done() for answer in self._asked):
            if is_late:
                self._asked, self._admin = [], None  # a question about a group ends with its client alone
            return False
        asked, self._asked = self._asked, []
        if is_late:
            return False  # this thread was giving partitions away, and the group is another since
        try:
            group, *topics = [answer.result(0) for answer in asked]
        except KafkaException as error:
            log.debug("the group can't be looked at", extra={"group": self._group, "reason": str(error)})
            if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
                self._every = float("inf")  # the embedded broker never tells
            return False
        return self._judge(group, topics)

    def _ask(self) -> None:
        if self._admin is None:
            self._admin = AdminClient({**self._config, "log_level": 0})
        topics = self._admin.describe_topics(TopicCollection(self.topics), request_timeout=TIMEOUT)
        self._asked = [*self._admin.describe_consumer_groups([self._group]).values(), *topics.values()]

    def _judge(self, group: Any, topics: Collection[Any]) -> bool:
        names = sorted(member.group_instance_id for member in group.members if member.group_instance_id)
        if group.state != ConsumerGroupState.STABLE or self._name not in names:
            self._is_shared_out = True
            return False
        # A static member that was started again has a new id, and nothing was given out anew.
        given = {member.group_instance_id or member.member_id: _given(member) for member in group.members}
        there = {(topic.name, partition.id) for topic in topics for partition in topic.partitions}
        self._note(there.difference(*given.values()), is_shared_out=self._is_shared_out or given != self._given)
        self._given, self._is_shared_out = given, False
        late = names.index(self._name) * self._every
        due = [place for place, since in self._since.items() if self._asked_at - since >= self._patience(place) + late]
        if not due:
            return False
        self._is_shared_out = True
        log.warning(
            "a group has given partitions to nobody; this member leaves it and joins it again, so that all of them are "
            "given out",
            extra={
                "group": self._group,
                "partitions": ", ".join(f"{name}[{number}]" for name, number in sorted(due)),
            },
        )
        return True

    def _note(self, unowned: set[PartitionId], *, is_shared_out: bool) -> None:
        """Keep since when each partition has no owner; all begin anew where the group was shared out anew.

        That is of no use to one that was without an owner for longer than giving away takes, and still is. The same
        member's leaving and joining are often seen one by one, and double the patience once.
        """
        since, times = self._since, self._times
        self._times = {
            place: times.get(place, 1) * (2 if is_shared_out and self._is_stuck(place) else 1) for place in unowned
        }
        self._since = {
            place: self._asked_at if is_shared_out else since.get(place, self._asked_at) for place in unowned
        }

    def _is_stuck(self, place: PartitionId) -> bool:
        return place in self._since and self._asked_at - self._since[place] >= max(self._wait, self._every)

    def _patience(self, place: PartitionId) -> float:
        return (self._wait + self._every) * self._times[place]


class Rejoining:
    """Has a member leave its group and join it again, by which the group gives out all partitions anew.

    Unsubscribing is what makes a static member leave: it gives away its partitions as in any rebalance.
    """

    def __init__(self, unowned: Unowned, subscribe: Callable[[Consumer], None]) -> None:
        self._unowned = unowned
        self._subscribe = subscribe
        self._by = 0.0

    def shared_out(self) -> None:
        """The group has given out its partitions anew."""
        self._unowned.shared_out()

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
