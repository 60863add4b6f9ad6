"""The moving thread: it waits in front of the delay topics, and puts each job where it belongs when it is due."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable
from lamplighter.kafka.clientlog import client_logger
from lamplighter.kafka.commits import Verdict, judge
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.holding import ASK_AGAIN, ask, learn
from lamplighter.kafka.delays.names import HeldName
from lamplighter.kafka.delays.shelf import MOST_IN_HAND, Shelf
from lamplighter.kafka.delays.tiers import Tiers, Waiting, wrap
from lamplighter.kafka.headers import headers_of
from lamplighter.kafka.metadata import missing_topics
from lamplighter.kafka.producer import KafkaProducer

log = logging.getLogger(__name__)

BATCH = 100  # records of one call
IDLE = 0.1  # seconds that a poll waits at most
COMMIT_EVERY = 0.2  # seconds
REFUSED = 5.0  # seconds until a topic is tried again that did not take a record
ROUND = 15.5  # seconds that a record waits once more which its topic refuses: in one topic, the rest in hand
LOOK = 1.0  # seconds of one look whether a topic is there
ASK_SOON = 1.0  # seconds until brokers that did not answer are asked for their time again
AWAY = 5.0  # seconds until moving begins anew after it has ended with an error
LEAVE = 2.0  # seconds for what is on its way, when partitions go
GO = 0.1  # seconds for what is on its way at the very end: it is moved again

Place = Callable[[str, Message], int]


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
        *,
        default_queue: str,
        place: Place,
        name: HeldName | None = None,
    ) -> None:
        super().__init__(name="lamplighter-kafka-delays", daemon=True)
        self.is_ready = False
        self._config = {**config, **({"group.instance.id": name.text} if name is not None else {})}
        self._name = name
        self._tiers = tiers
        self._clock = clock
        self._producer = producer
        self._default_queue = default_queue
        self._place = place
        self._shelves: dict[tuple[str, int], Shelf] = {}
        self._due: list[tuple[float, int, Shelf, int, Waiting]] = []
        self._numbers = itertools.count()
        self._refused: dict[str, float] = {}
        self._gone: set[str] = set()
        self._refusals_told: dict[tuple[str, type[QueueError]], float] = {}
        self._fatal: KafkaError | None = None
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._leave_by = 0.0
        self._is_committing = False
        self._committed_at = 0.0
        self._ask_at = 0.0

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
            except Exception:
                log.exception("moving delayed jobs has ended; it begins again", extra={"after": AWAY})
                self._give_up(list(self._shelves))
                self._stopping.wait(AWAY)
        # What is not acknowledged is not committed, and moved again.
        self._producer.close(timeout=GO)

    def _move(self) -> None:
        consumer = Consumer({**self._config, "on_commit": self._on_commit, "logger": client_logger()})
        try:
            # On the embedded broker this makes them; elsewhere the subscription tells which are missing.
            with suppress(KafkaException):
                missing_topics(consumer, self._tiers.topics(), timeout=LOOK)
            consumer.subscribe(
                self._tiers.topics(), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stopping.is_set() and self._fatal is None:
                self._turn(consumer)
            if self._fatal is None:
                self._leave(consumer)
        finally:
            consumer.close()
        if self._fatal is not None:
            self._begin_anew(self._fatal)

    def _begin_anew(self, fatal: KafkaError) -> None:
        """Another mover goes by the same name, as where a folder was copied to another host."""
        self._fatal = None
        self._give_up(list(self._shelves))
        if self._name is None:
            raise KafkaException(fatal)
        self._config["group.instance.id"] = self._name.change()
        log.warning(
            "another worker moves delayed jobs under this one's name; it has a new one", extra={"reason": fatal.str()}
        )

    # one turn ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, consumer: Consumer) -> None:
        self._learn(consumer)
        record = consumer.poll(self._patience())
        if record is not None:
            for one in (record, *consumer.consume(BATCH - 1, 0)):
                self._receive(one)
        if self.is_ready:
            self._advance()
        self._regulate(consumer)
        self._producer.serve(0)
        if not self._is_committing and time.monotonic() - self._committed_at >= COMMIT_EVERY:
            self._commit(consumer)

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
                self._tell_once("delayed jobs can't be moved yet", str(error))
        except KafkaException as error:
            self._ask_at = time.monotonic() + ASK_SOON
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
        able = [shelf for shelf in self._shelves.values() if shelf.in_hand < MOST_IN_HAND]
        at = min((shelf.next_at() for shelf in able), default=float("inf"))
        if self._due:
            at = min(at, self._due[0][0])
        return max(0.0, min(IDLE, at - self._clock.now()))

    def _receive(self, record: KafkaMessage) -> None:
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
        shelf = self._shelves.get((str(record.topic()), record.partition() or 0))
        if shelf is None:
            return
        kind, stamp = record.timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            self._clock.notice(stamp / 1000)
            if not self._clock.is_fresh():
                # The topic has come meanwhile; by this host's time its jobs could run early.
                self.is_ready, self._ask_at = False, min(self._ask_at, time.monotonic() + ASK_SOON)
        shelf.receive(record)

    def _advance(self) -> None:
        now = self._clock.now()
        for shelf in self._shelves.values():
            while shelf.in_hand < MOST_IN_HAND and shelf.next_at() <= now:
                record, waiting = shelf.take()
                if waiting is None:
                    log.error(
                        "a record of a delay topic is not ours; it goes to the default queue, and fails there",
                        extra={"position": f"{shelf}@{record.offset()}", "queue": self._default_queue},
                    )
                    waiting = Waiting(self._default_queue, 0.0, 0.0, as_it_is(record))
                self._pass_on(shelf, record.offset(), waiting, now)
        while self._due and self._due[0][0] <= now:
            _, _, shelf, offset, waiting = heapq.heappop(self._due)
            if not shelf.lost:
                self._pass_on(shelf, offset, waiting, now)

    def _pass_on(self, shelf: Shelf, offset: int, waiting: Waiting, now: float) -> None:
        """To its queue when it is due, else to the next delay topic, or into the hand for less than the shortest."""
        left = waiting.due - now
        if left <= 0:
            self._send(shelf, offset, waiting, waiting.topic, waiting.message)
        elif left < self._tiers.seconds[0]:
            self._wait(waiting.due, shelf, offset, waiting)
        else:
            topic = self._tiers.topic(self._tiers.choose(left))
            record = wrap(waiting.message, waiting.topic, due=waiting.due, sent=now)
            self._send(shelf, offset, waiting, topic, record)

    def _wait(self, until: float, shelf: Shelf, offset: int, waiting: Waiting) -> None:
        heapq.heappush(self._due, (until, next(self._numbers), shelf, offset, waiting))

    def _send(self, shelf: Shelf, offset: int, waiting: Waiting, topic: str, message: Message) -> None:
        def told(error: QueueError | None, sent: KafkaMessage) -> None:
            if error is not None:
                self._on_refusal(shelf, offset, waiting, topic, error)
            elif not shelf.lost:
                learn(self._clock, sent)
                shelf.done(offset)

        until = self._refused.get(topic, 0.0)
        if until > self._clock.now():
            self._postpone(shelf, offset, waiting, until, goes_round=topic in self._gone)
            return
        try:
            self._producer.send_soon(topic, message, self._place(topic, message), told)
        except QueueError as error:
            self._on_refusal(shelf, offset, waiting, topic, error)

    def _on_refusal(self, shelf: Shelf, offset: int, waiting: Waiting, topic: str, error: QueueError) -> None:
        """Brokers that are away are waited for. A topic that refuses holds up its own jobs alone: these go round."""
        now = self._clock.now()
        until, kind = now + REFUSED, (topic, type(error))
        if self._refusals_told.get(kind, 0.0) < now - REFUSED:
            self._refusals_told[kind] = now
            log.error(
                "a delayed job can't be moved; it stays, and is tried again",
                extra={"position": f"{shelf}@{offset}", "queue": topic, "reason": str(error)},
            )
        goes_round = topic == waiting.topic and not isinstance(error, Unavailable)
        if not isinstance(error, MessageTooLarge):
            self._refused[topic] = until
            (self._gone.add if goes_round else self._gone.discard)(topic)
        if not shelf.lost:
            self._postpone(shelf, offset, waiting, until, goes_round=goes_round)

    def _postpone(self, shelf: Shelf, offset: int, waiting: Waiting, until: float, *, goes_round: bool) -> None:
        """Into the hand until then, and the commit waits for it; or into a delay topic once more."""
        if goes_round:
            now = self._clock.now()
            self._wait(now, shelf, offset, replace(waiting, due=now + ROUND))
        else:
            self._wait(until, shelf, offset, waiting)

    def _regulate(self, consumer: Consumer) -> None:
        """Fetch no further where the first is not due; a pause throws away what librdkafka has fetched, no more."""
        for shelf in self._shelves.values():
            if bool(shelf.held) != shelf.is_paused:
                shelf.is_paused = bool(shelf.held)
                place = [TopicPartition(shelf.topic, shelf.number)]
                (consumer.pause if shelf.is_paused else consumer.resume)(place)

    def _tell_once(self, text: str, reason: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning(text, extra={"reason": reason, "prefix": self._tiers.prefix})

    # committing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, consumer: Consumer) -> None:
        self._committed_at = time.monotonic()
        self._send_commit(consumer, list(self._shelves.values()), asynchronous=True)

    def _send_commit(self, consumer: Consumer, shelves: list[Shelf], *, asynchronous: bool) -> None:
        news = {shelf: position for shelf in shelves if (position := shelf.news()) is not None}
        if not news:
            return
        offsets = [TopicPartition(shelf.topic, shelf.number, position) for shelf, position in news.items()]
        try:
            if asynchronous:
                consumer.commit(offsets=offsets, asynchronous=True)
                self._is_committing = True
                return
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._refuse(error.args[0])

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        self._is_committing = False
        if error is not None:
            self._refuse(error)
            return
        for tp in offsets:
            shelf = self._shelves.get((tp.topic, tp.partition))
            if shelf is not None and tp.error is None:
                shelf.committed = tp.offset

    def _refuse(self, error: KafkaError) -> None:
        # What is not committed is moved again by the next owner, which repeats jobs and loses none.
        level = logging.ERROR if judge(error) is Verdict.FATAL else logging.WARNING
        log.log(level, "a commit of moved jobs was refused; trying again", extra={"reason": error.str()})

    # assignment ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        for tp in assigned:
            self._shelves[tp.topic, tp.partition] = Shelf(tp.topic, tp.partition, self._tiers.seconds_of(tp.topic))
        consumer.incremental_assign([TopicPartition(tp.topic, tp.partition) for tp in assigned])
        if assigned:
            consumer.resume(assigned)  # a pause outlives revocation

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        shelves = [shelf for tp in revoked if (shelf := self._shelves.get((tp.topic, tp.partition))) is not None]
        # In the end all was tried already for what is not told yet.
        if not self._stopping.is_set() or time.monotonic() < self._leave_by:
            self._settle(shelves, until=time.monotonic() + LEAVE)
            self._send_commit(consumer, shelves, asynchronous=False)
        self._give_up([(tp.topic, tp.partition) for tp in revoked])

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._give_up([(tp.topic, tp.partition) for tp in lost])

    def _give_up(self, places: list[tuple[str, int]]) -> None:
        for place in places:
            shelf = self._shelves.pop(place, None)
            if shelf is not None:
                shelf.lost = True

    def _leave(self, consumer: Consumer) -> None:
        """Commit, and unsubscribe before the close, as the jobs' own consumer does."""
        if self._shelves:
            consumer.pause([TopicPartition(*place) for place in self._shelves])
        self._settle(list(self._shelves.values()), until=min(self._leave_by, time.monotonic() + LEAVE))
        self._commit(consumer)
        while self._is_committing and time.monotonic() < self._leave_by:
            consumer.poll(0.05)
            if not self._is_committing:
                self._commit(consumer)
        consumer.unsubscribe()
        # A member with a name does not leave in a close that comes before this was done.
        while consumer.memberid() and time.monotonic() < self._leave_by:
            consumer.poll(0.02)

    def _settle(self, shelves: list[Shelf], *, until: float) -> None:
        """Wait for the reports of what has been sent of these; what waits in hand is the next owner's."""
        while self._producer.ahead and time.monotonic() < until and any(shelf.in_hand for shelf in shelves):
            self._producer.serve(0.05)


def as_it_is(record: KafkaMessage) -> Message:
    """A record's own bytes."""
    return Message(record.value() or b"", record.key(), headers_of(record))
