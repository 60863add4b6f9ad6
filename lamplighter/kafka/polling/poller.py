"""The polling thread: it owns the consumer, keeps the membership alive, fetches and commits; it never runs a job."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.polling.assignment import Assignment, Scheduling
from lamplighter.kafka.polling.batches import runs_and_errors
from lamplighter.kafka.polling.committer import Committer
from lamplighter.kafka.polling.end_offsets import Ends
from lamplighter.kafka.polling.flow_control import Flow
from lamplighter.kafka.polling.membership import Membership, refusal
from lamplighter.kafka.polling.start_offsets import (
    look_for_topics,
    no_offset_text,
    read_committed,
    read_new_topics,
    start_of,
)
from lamplighter.kafka.polling.unowned import Rejoining, Unowned, is_needed
from lamplighter.kafka.settings.client_errors import is_fatal
from lamplighter.kafka.settings.clientlog import client_logger, tell_outage
from lamplighter.kafka.settings.native import Consumer, KafkaError, KafkaException, Message, TopicPartition
from lamplighter.kafka.topics.identity import Identity

log = logging.getLogger(__name__)

BATCH = 500  # messages that one call hands over at most; larger batches miss the processor's caches
IDLE = 0.1  # seconds that a poll waits for a message
BUSY = 0.005  # the same while something is buffered, and may soon wait for a commit
CAREFUL = 0.001  # the same while each job waits for a commit of its own
LOOK_EVERY = 1.0  # seconds between two looks whether a broker that is away can come back


class PollingThread(threading.Thread):
    """Feeds a scheduler with chunks of one partition each, and commits what has been finished.

    Attributes:
        failure: why polling has ended for good; None while it goes on.
        polled_at: when the consumer was last polled, on the monotonic clock.
        paused: the topics of which nothing is to be fetched; any thread may set it.
    """

    def __init__(
        self,
        connection: str,
        config: Mapping[str, Any],
        topics: Sequence[str],
        *,
        needed: Sequence[str],
        prefetch: int,
        prefetch_bytes: int,
        revoke_wait: float,
        identity: Identity | None,
        sleep_on_error: float | None,
        scheduling: Scheduling,
        changed: Callable[[], None],
        is_gone: Callable[[str], bool],
    ) -> None:
        super().__init__(name="lamplighter-kafka-poll", daemon=True)
        self.failure: QueueError | None = None
        self.polled_at = time.monotonic()
        self.paused: Collection[str] = frozenset()
        self._config = dict(config)
        # Left to the client, the end would be taken in a log that was shortened and in an added partition, too.
        self._from_end = config.get("auto.offset.reset") == "latest"
        if self._from_end:
            self._config["auto.offset.reset"] = "earliest"
        self._new_topics: dict[str, int] = {}
        self._topics = list(topics)
        self._needed = [topic for topic in needed if topic not in topics]
        self._flow = Flow(self._topics, prefetch=prefetch, prefetch_bytes=prefetch_bytes)
        self._sleep_on_error = sleep_on_error
        self._revoke_wait = revoke_wait
        self._changed = changed
        self._is_gone = is_gone
        self._stopping = threading.Event()
        self._assignment = Assignment(
            connection,
            scheduling=scheduling,
            wait=revoke_wait,
            changed=changed,
            alive=self._beat,
            is_over=self._stopping.is_set,
        )
        self._committer = Committer(
            self._assignment.partitions, acknowledged=scheduling.look_at, changed=changed, refused=self._on_refusal
        )
        self._membership: Membership | None = None
        self._rejoining: Rejoining | None = None
        self._identity = identity
        self._leave_by = 0.0
        self._has_told_all = False
        self._looks_for_end = False
        self._looked_at = 0.0

    @property
    def brokers(self) -> str:
        """The brokers, for messages."""
        return str(self._config["bootstrap.servers"])

    @property
    def last_commit_error(self) -> str:
        """What the brokers said of the last commit; empty when they took it."""
        return self._committer.last_error

    @property
    def has_assignment(self) -> bool:
        """Whether the group has given this member its partitions, be they none."""
        return self._assignment.has_begun

    @property
    def lost(self) -> list[Partition]:
        """What was taken away without a word, until the group gives something again."""
        return self._assignment.lost

    @property
    def ends(self) -> Ends:
        """How far the assigned partitions go."""
        return self._assignment.ends

    def assigned(self) -> list[Partition]:
        """The partitions that are ours now."""
        return list(self._assignment.partitions.values())

    def stop(self, *, timeout: float) -> bool:
        """Commit, leave the group, close; False when that has not ended in time, or a commit was not taken."""
        self._leave_by = time.monotonic() + timeout
        self._stopping.set()
        self.join(timeout)
        return self._has_told_all and not self.is_alive()

    def run(self) -> None:
        """Poll until told to stop, or until polling makes no sense any more."""
        try:
            consumer = Consumer(
                {
                    **self._config,
                    "error_cb": self._on_error,
                    "on_commit": self._committer.on_commit,
                    "logger": client_logger(),
                }
            )
            self._subscribe(consumer)
            self._await_topics(consumer)
            if self._config.get("group.protocol") == "consumer":
                self._membership = Membership(self._config)
            if is_needed(self._config):
                unowned = Unowned(self._config, self._topics, wait=self._revoke_wait)
                self._rejoining = Rejoining(unowned, self._subscribe)
            while not self._stopping.is_set() and self.failure is None:
                self._turn(consumer)
            self._leave(consumer)
        except KafkaException as error:
            reason = error.args[0]
            ended = QueueError(f"Polling {self.brokers} has ended: {reason.str()}")
            self._fail(refusal(reason, self._config) if is_fatal(reason) else ended)
        except Exception as error:
            log.exception("polling has ended", extra={"brokers": self.brokers})
            self._fail(QueueError(f"Polling {self.brokers} has ended: {error}"))

    def _subscribe(self, consumer: Consumer) -> None:
        # The stubs don't tell that a callback is handed this very client.
        consumer.subscribe(
            self._topics,
            on_assign=self._on_assign,  # type: ignore[arg-type]
            on_revoke=self._on_revoke,  # type: ignore[arg-type]
            on_lost=self._on_lost,  # type: ignore[arg-type]
        )

    def _fail(self, failure: QueueError) -> None:
        if self.failure is None:
            self.failure = failure
        self._changed()

    # starting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _await_topics(self, consumer: Consumer) -> None:
        """Wait for brokers that are away; a topic that is missing is an error."""
        while not self._stopping.is_set() and self.failure is None:
            self.polled_at = time.monotonic()
            try:
                look_for_topics(consumer, self._topics, self._needed, self.brokers)
                if self._from_end:
                    self._new_topics = read_new_topics(
                        consumer, self._topics, stopping=self._stopping, alive=self._beat
                    )
            except QueueError as missing:
                self._fail(missing)
            except KafkaException as error:
                self._brokers_are_away(error.args[0])
                consumer.poll(0)
                self._stopping.wait(self._sleep_on_error or 0)
            else:
                return

    def _brokers_are_away(self, error: KafkaError) -> None:
        self._looks_for_end = True
        if self._sleep_on_error is None:
            self._fail(BrokerUnavailable(f"The brokers {self.brokers} can't be reached: {error.str()}"))
            return
        tell_outage(self.brokers, error.str())

    # polling ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, consumer: Consumer) -> None:
        now = self.polled_at = time.monotonic()
        self._committer.commit_if_due(consumer, now)
        partitions = self._assignment.partitions.values()
        self._flow.regulate(consumer, partitions, now, paused=self.paused)
        self._assignment.ends.look(consumer, partitions, now)
        if self._looks_for_end and now - self._looked_at > LOOK_EVERY:
            self._look_for_end(now)
        if self._membership is not None:
            self._look_for_membership(consumer, self._membership, now)
        if self._rejoining is not None and self._rejoining.look(consumer, now):
            self._assignment.has_begun = False  # until it has joined again
        for topic in self._identity.made_anew(now) if self._identity is not None else ():
            self._new_topics.pop(topic, None)
            self._assignment.begin_anew(consumer, topic)
        if self._flow.may_wait(now):
            # One message more, at most, for the answer to a commit that jobs may be waiting for.
            time.sleep(CAREFUL if self._committer.in_flight else BUSY)
            message = consumer.poll(0) if self._committer.in_flight else None
            if message is not None:
                self._hand_over(consumer, [message])
            return
        batch = consumer.consume(BATCH, 0)
        if not batch:
            message = consumer.poll(self._patience())
            if message is None:
                return
            batch = [message, *consumer.consume(BATCH - 1, 0)]
        self._hand_over(consumer, batch)

    def _patience(self) -> float:
        """Seconds that a poll may wait: what the other thread wants committed is seen after it."""
        if self._flow.is_full:
            return BUSY
        patience = IDLE
        for partition in self._assignment.partitions.values():
            is_careful = partition.marks.careful_until >= 0 and partition.tracker.left
            if is_careful or (partition.reach.told < 0 and partition.intake.has_begun):
                return CAREFUL
            if partition.backlog is not None and partition.backlog.unbegun and partition.topic not in self.paused:
                patience = BUSY
        return patience

    def _look_for_end(self, now: float) -> None:
        """Brokers come back, but for the embedded one: another has another address, and none of its jobs."""
        self._looked_at = now
        if self._is_gone(self.brokers):
            self._fail(BrokerUnavailable(f"The broker {self.brokers} has ended for good. Start the worker again."))

    def _look_for_membership(self, consumer: Consumer, membership: Membership, now: float) -> None:
        """Nobody tells of an assignment without partitions, nor of brokers that don't know the protocol."""
        try:
            if not self.has_assignment and not membership.is_confirmed(consumer, now):
                return
        except QueueError as refused:
            self._fail(refused)
            return
        self._membership = None
        self._assignment.take_none()

    def _hand_over(self, consumer: Consumer, batch: list[Message]) -> None:
        self._looks_for_end = False
        self._assignment.begin_batch()
        # Of one topic only the partitions differ, and asking for them is all that groupby needs to do.
        only = self._topics[0] if len(self._topics) == 1 else None
        key: Callable[[Message], Any] = Message.partition if only else _partition_id
        for part in runs_and_errors(batch):
            if isinstance(part, Message):
                self._on_message_error(consumer, part)
                continue
            for found, run in groupby(part, key=key):
                self._assignment.receive(consumer, (only, found) if only else found, list(run))

    def _on_message_error(self, consumer: Consumer, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            self._assignment.read_to(consumer, _partition_id(message), message.offset() or 0, from_end=self._from_end)
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.error("a topic is missing", extra={"topic": message.topic(), "brokers": self.brokers})
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._fail(QueueError(no_offset_text(message, self._config["group.id"])))
        elif is_fatal(error):
            self._fail(refusal(error, self._config))
        else:
            log.warning("consumer error", extra={"reason": error.str(), "code": error.name()})

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._fail(refusal(error, self._config))
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._brokers_are_away(error)

    # assignment ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if self._rejoining is not None:
            self._rejoining.shared_out()
        try:
            left = read_committed(consumer, assigned, stopping=self._stopping, alive=self._beat)
        except QueueError as refused:
            self._fail(refused)
            return
        # One that stops may have been told nothing. It must not take the end then, and neither works nor commits: its
        # last word would stand in the place of what the last owner has left.
        new_topics = {} if self._stopping.is_set() else self._new_topics
        self._assignment.take(consumer, left, [start_of(tp, new_topics) for tp in left or assigned])

    def _beat(self) -> None:
        self.polled_at = time.monotonic()

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._assignment.give_away(consumer, revoked, self._committer)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._assignment.lose(lost)

    def _on_refusal(self, error: KafkaError) -> None:
        self._fail(QueueError(f"The brokers {self.brokers} refuse this worker's commits: {error.str()}"))

    # leaving ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _leave(self, consumer: Consumer) -> None:
        """Commit, unsubscribe, close, always in this order: a bare close in a rebalance would not leave the group.

        A static member does not leave: it comes back before its session ends, or its partitions move then.
        """
        places = [TopicPartition(*place) for place in self._assignment.partitions]
        if places:
            consumer.pause(places)
        # An open commit makes close() hang where the broker is frozen, so it is waited for here. One that a
        # rebalance refuses is sent again when polling has brought us into the new generation.
        committer = self._committer
        while time.monotonic() < self._leave_by:
            while committer.in_flight and time.monotonic() < self._leave_by:
                consumer.poll(0.05)
            if committer.in_flight:
                break
            self._has_told_all = not committer.commit(consumer, is_last=True)
            if self._has_told_all:
                break
            if not committer.in_flight:
                consumer.poll(IDLE)
        if "group.instance.id" not in self._config:
            consumer.unsubscribe()  # a static member would give up its partitions by that
        consumer.close()


def _partition_id(message: Message) -> PartitionId:
    return message.topic(), message.partition()  # type: ignore[return-value]  # None only before it is sent
