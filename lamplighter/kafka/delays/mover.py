"""The moving thread: it waits in front of the delay topics, and puts each job where it belongs when it is due."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from lamplighter.errors import QueueError, Unavailable
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.delay_partition import MOST_IN_HAND, DelayPartition
from lamplighter.kafka.delays.forwarding import Forwarding
from lamplighter.kafka.delays.holding import ASK_AGAIN, ask
from lamplighter.kafka.delays.instance_ids import HeldInstanceId
from lamplighter.kafka.delays.moved_commits import MovedCommits
from lamplighter.kafka.delays.targets import Targets
from lamplighter.kafka.polling.unowned import Unowned, is_needed
from lamplighter.kafka.polling.validation import Validation
from lamplighter.kafka.producing.partitioner import Partitioner
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.client_errors import is_fatal
from lamplighter.kafka.settings.clientlog import client_logger, tell_outage
from lamplighter.kafka.settings.native import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.kafka.settings.tiers import Tiers
from lamplighter.kafka.topics.metadata import missing_topics

log = logging.getLogger(__name__)

BATCH = 100  # records of one call
IDLE = 0.1  # seconds that a poll waits at most
LOOK = 1.0  # seconds of one look at topics
ASK_SOON = 1.0  # seconds until brokers that did not answer are asked for their time again
LOOK_AGAIN = 300.0  # seconds between two looks for topics of long delays
AWAY = 5.0  # seconds until moving begins anew after it has ended with an error
LEAVE = 2.0  # seconds for what is on its way, when partitions go
LEAVE_GROUP = 5.0  # seconds for leaving the group at most, where it is joined again
GO = 0.1  # seconds for what is on its way at the very end: it is moved again


class Mover(threading.Thread):
    """Moves what is due: produced, acknowledged, then committed, so that a crash at any line repeats and loses nothing.

    Records of one delay topic wait equally long, so that a partition is fetched up to the first that is not due, and
    paused until it is. A record whose rest is shorter than the shortest delay is in hand until its exact time.

    Attributes:
        is_ready: the clock may be gone by.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        tiers: Tiers,
        clock: BrokerClock,
        producer: KafkaProducer,
        targets: Targets,
        *,
        partitioner: Partitioner,
        instance_id: HeldInstanceId | None = None,
    ) -> None:
        super().__init__(name="lamplighter-kafka-delays", daemon=True)
        self.is_ready = False
        self._config = {**config, **({"group.instance.id": instance_id.text} if instance_id is not None else {})}
        self._instance_id = instance_id
        self._tiers = tiers
        self._clock = clock
        self._producer = producer
        self._consumer: Consumer | None = None
        self._partitions: dict[tuple[str, int], DelayPartition] = {}
        self._commits = MovedCommits(self._partitions)
        self._validation = Validation()
        self._sought: set[tuple[str, int]] = set()  # in this batch: what else is in it is fetched once more
        self._read = targets.read
        self._forwarding = Forwarding(clock, producer, targets, partitioner, tiers=tiers, topics=self._list_topics)
        self._unowned: Unowned | None = None
        self._fatal: KafkaError | None = None
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._leave_by = 0.0
        self._ask_at = 0.0
        self._look_at = 0.0

    def ask_to_stop(self, *, timeout: float) -> None:
        """Wait for what is on its way, commit, leave the group."""
        self._leave_by = time.monotonic() + timeout
        self._stopping.set()
        self._producer.leave()

    def stop(self, *, timeout: float) -> bool:
        """Be asked, and wait for the end; False when that has not come in time."""
        self.ask_to_stop(timeout=timeout)
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """Move until told to stop; whatever goes wrong is tried again."""
        while not self._stopping.is_set():
            try:
                self._move()
            except KafkaException as error:
                self._begin_again(error.args[0])
            except Exception:
                log.exception("moving delayed jobs has ended; it begins again", extra={"after": AWAY})
                self._give_up(list(self._partitions))
                self._stopping.wait(AWAY)
        # What is not acknowledged is not committed, and moved again.
        self._producer.close(timeout=GO)

    def _move(self) -> None:
        self._commits = MovedCommits(self._partitions)  # the answer to the last one's may never come
        config = {**self._config, "on_commit": self._commits.on_commit, "logger": client_logger()}
        consumer = self._consumer = Consumer(config)
        try:
            # On the embedded broker this makes them; elsewhere the subscription tells which are missing.
            with suppress(KafkaException):
                missing_topics(consumer, self._tiers.topics(), timeout=LOOK)
            self._look_for_long_topics()
            self._subscribe(consumer)
            while not self._stopping.is_set() and self._fatal is None and not self._has_unowned():
                self._turn(consumer)
            if self._fatal is None:
                self._leave(consumer, by=self._leave_by if self._stopping.is_set() else time.monotonic() + LEAVE_GROUP)
        finally:
            self._consumer = None
            consumer.close()
        if self._fatal is not None:
            raise KafkaException(self._fatal)

    def _has_unowned(self) -> bool:
        """Whether this mover should leave and begin again, so that partitions which no mover has are given out."""
        return self._unowned is not None and self._unowned.are_there(time.monotonic())

    def _subscribe(self, consumer: Consumer) -> None:
        topics = self._tiers.topics()
        # Kept over the clients' lives: it knows which leaving and joining was of no use.
        if is_needed(self._config) and (self._unowned is None or self._unowned.topics != topics):
            self._unowned = Unowned(self._config, topics, wait=LEAVE)
        # The stubs don't tell that a callback is handed this very client.
        consumer.subscribe(
            topics,
            on_assign=self._on_assign,  # type: ignore[arg-type]
            on_revoke=self._on_revoke,  # type: ignore[arg-type]
            on_lost=self._on_lost,  # type: ignore[arg-type]
        )

    def _look_for_long_topics(self) -> bool:
        """Serve what waits in topics of long delays, whatever the store is now; whether such topics were found.

        Nothing new is put there: what is left of a wait goes through the topics of the present store.
        """
        self._look_at = time.monotonic() + LOOK_AGAIN
        try:
            tiers = self._tiers.served(self._list_topics())
        except KafkaException:
            self._look_at = time.monotonic() + ASK_SOON
            return False
        more = tiers.seconds[len(self._tiers.seconds) :]
        if more:
            log.info(
                "there are topics of long delays, and delay_store is another; what waits in them is served, too",
                extra={"topics": ", ".join(map(tiers.topic, more))},
            )
        self._tiers = tiers
        return bool(more)

    def _list_topics(self) -> Iterable[str]:
        """All topics of the brokers; asking for all of them makes none."""
        assert self._consumer is not None  # only asked within a turn
        topics: Mapping[str, object] = self._consumer.list_topics(timeout=LOOK).topics
        return topics

    def _begin_again(self, error: KafkaError) -> None:
        """Join again; under another name where another mover goes by ours, as where a folder was copied to a host."""
        self._fatal = None
        self._give_up(list(self._partitions))
        # The code of a fatal error is only that it is fatal.
        if self._instance_id is not None and is_fatal(error) and "instance" in error.str().lower():
            self._config["group.instance.id"] = self._instance_id.change()
            self._unowned = None
            log.warning(
                "another worker moves delayed jobs under this one's name; it has a new one, and begins again",
                extra={"reason": error.str()},
            )
            return
        level = logging.ERROR if is_fatal(error) else logging.WARNING
        log.log(level, "moving delayed jobs has ended; it begins again", extra={"reason": error.str(), "after": AWAY})
        self._stopping.wait(AWAY)

    # one turn ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, consumer: Consumer) -> None:
        self._learn(consumer)
        record = consumer.poll(self._patience())
        if record is not None:
            self._sought.clear()
            for one in (record, *consumer.consume(BATCH - 1, 0)):
                self._receive(consumer, one)
        if self.is_ready:
            self._advance()
        self._regulate(consumer)
        self._producer.serve(0)
        if time.monotonic() >= self._look_at and self._look_for_long_topics():
            self._subscribe(consumer)
        self._commits.commit_if_due(consumer)

    def _learn(self, consumer: Consumer) -> None:
        """Nothing is moved before the brokers have told their time: this host's may be fast."""
        now = time.monotonic()
        if self._clock.is_fresh():
            self.is_ready = True
            return
        if now < self._ask_at:
            return
        topic = self._tiers.topics()[0]
        try:
            if missing_topics(consumer, [topic], timeout=LOOK):
                # Jobs that are kept elsewhere must not wait for a topic that nobody makes.
                self._go_by_this_host(f"the topic {topic} is missing")
            elif not ask(self._producer, topic, self._clock):
                self._go_by_this_host(f"the topic {topic} keeps the sender's time")
            else:
                self.is_ready = True
        except Unavailable as error:
            self._ask_at = time.monotonic() + ASK_SOON
            if not self._stopping.is_set():
                tell_outage(str(self._config["bootstrap.servers"]), str(error))
        except KafkaException as error:
            self._ask_at = time.monotonic() + ASK_SOON
            if error.args[0].code() == KafkaError._TRANSPORT:
                tell_outage(str(self._config["bootstrap.servers"]), error.args[0].str())
            else:
                self._tell_once("delayed jobs can't be moved yet", error.args[0].str())
        except QueueError as error:
            self._go_by_this_host(str(error))

    def _go_by_this_host(self, reason: str) -> None:
        self._ask_at = time.monotonic() + ASK_AGAIN
        self._tell_once("the brokers' time is not known; this host's is used", reason)
        self.is_ready = True

    def _patience(self) -> float:
        """Seconds that a poll may wait: until something is due, or a report has come."""
        if self._producer.ahead:
            return 0.001
        if not self.is_ready:
            return IDLE
        able = [partition for partition in self._partitions.values() if partition.in_hand < MOST_IN_HAND]
        at = min((partition.next_at() for partition in able), default=float("inf"))
        return max(0.0, min(IDLE, min(at, self._forwarding.next_at()) - self._clock.now()))

    def _receive(self, consumer: Consumer, record: KafkaMessage) -> None:
        error = record.error()
        if error is not None:
            if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._tell_once(
                    "a delay topic is missing; create it by `python artisan.py kafka:topics --create`",
                    str(record.topic()),
                )
            elif error.code() == KafkaError._FATAL:
                self._fatal = error
            elif error.code() != KafkaError._PARTITION_EOF:
                self._tell_once("delayed jobs can't be read", error.str())
            return
        place = str(record.topic()), record.partition() or 0
        partition = self._partitions.get(place)
        if partition is None or place in self._sought:
            return
        if not partition.intake.has_begun and self._validation.begin(consumer, place, record.leader_epoch()):
            self._sought.add(place)
            return
        if partition.is_moved(record):
            return
        if (record.offset() or 0) < partition.intake.expected:
            self._begin_from(consumer, partition, record.offset() or 0)
            return
        kind, stamp = record.timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            self._clock.notice(stamp / 1000)
            if not self._clock.is_fresh():
                # The topic has come meanwhile; by this host's time its jobs could run early.
                self.is_ready, self._ask_at = False, min(self._ask_at, time.monotonic() + ASK_SOON)
        partition.receive(record, self._clock.now())

    def _begin_from(self, consumer: Consumer, partition: DelayPartition, offset: int) -> None:
        """The log was cut off and written anew from here on; what of it was not moved is fetched once more."""
        place = partition.topic, partition.number
        log.warning(
            "the log of a delay topic has become shorter; it is read again from where it was cut off",
            extra={"partition": str(partition), "read_to": partition.intake.expected, "cut_off_at": offset},
        )
        self._give_up([place])
        self._sought.add(place)
        left = partition.left_before(offset)
        self._partitions[place] = DelayPartition(*place, partition.seconds, read=self._read, left=left)
        consumer.seek(TopicPartition(*place, left.offset))
        consumer.resume([TopicPartition(*place)])

    def _advance(self) -> None:
        now = self._clock.now()
        for partition in self._partitions.values():
            while partition.in_hand < MOST_IN_HAND and partition.next_at() <= now:
                self._forwarding.take(partition, now)
        self._forwarding.take_due(now)

    def _regulate(self, consumer: Consumer) -> None:
        """Fetch no further where the first is not due; a pause throws away what librdkafka has fetched, no more."""
        for partition in self._partitions.values():
            if bool(partition.held) != partition.is_paused:
                partition.is_paused = bool(partition.held)
                place = [TopicPartition(partition.topic, partition.number)]
                (consumer.pause if partition.is_paused else consumer.resume)(place)

    def _tell_once(self, text: str, reason: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning(text, extra={"reason": reason, "prefix": self._tiers.prefix})

    # assignment ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if self._unowned is not None:
            self._unowned.shared_out()
        left = assigned
        with suppress(KafkaException):  # what was not told can't be validated
            left = consumer.committed(assigned, timeout=LOOK) if assigned else []
        self._validation.expect(left)
        for tp in left:
            place = tp.topic, tp.partition
            self._partitions[place] = DelayPartition(*place, self._tiers.seconds_of(tp.topic), read=self._read, left=tp)
        consumer.incremental_assign([TopicPartition(tp.topic, tp.partition) for tp in assigned])
        if assigned:
            consumer.resume(assigned)  # a pause outlives revocation

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        partitions = [
            partition for tp in revoked if (partition := self._partitions.get((tp.topic, tp.partition))) is not None
        ]
        # In the end all was tried already for what is not told yet.
        if not self._stopping.is_set() or time.monotonic() < self._leave_by:
            self._settle(partitions, until=time.monotonic() + LEAVE)
            self._commits.commit_last(consumer, partitions)
        self._give_up([(tp.topic, tp.partition) for tp in revoked])

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._give_up([(tp.topic, tp.partition) for tp in lost])

    def _give_up(self, places: list[tuple[str, int]]) -> None:
        for place in places:
            partition = self._partitions.pop(place, None)
            if partition is not None:
                partition.lost = True

    def _leave(self, consumer: Consumer, *, by: float) -> None:
        """Commit, and unsubscribe before the close, as the jobs' own consumer does."""
        if self._partitions:
            consumer.pause([TopicPartition(*place) for place in self._partitions])
        self._settle(list(self._partitions.values()), until=min(by, time.monotonic() + LEAVE))
        self._commits.commit(consumer)
        while self._commits.is_under_way and time.monotonic() < by:
            consumer.poll(0.05)
            if not self._commits.is_under_way:
                self._commits.commit(consumer)
        consumer.unsubscribe()
        # A member with a name does not leave in a close that comes before this was done.
        while consumer.memberid() and time.monotonic() < by:
            consumer.poll(0.02)

    def _settle(self, partitions: list[DelayPartition], *, until: float) -> None:
        """Wait for the reports of what has been sent of these; what waits in hand is the next owner's."""
        while self._producer.ahead and time.monotonic() < until and any(partition.in_hand for partition in partitions):
            self._producer.serve(0.05)
