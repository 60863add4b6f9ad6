"""Produces delayed messages when their wait is over: to their queue, or to the next delay topic.

What is left of a wait below the shortest delay topic's is waited for in memory.
"""

import heapq
import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, Unavailable
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.delay_partition import DelayPartition
from lamplighter.kafka.delays.delayed_message import DelayedMessage, wrap
from lamplighter.kafka.delays.holding import learn
from lamplighter.kafka.delays.targets import Targets
from lamplighter.kafka.producing.partitioner import Partitioner
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.kafka.settings.tiers import Tiers

log = logging.getLogger(__name__)

REFUSED = 5.0  # seconds until a topic is tried again that did not take a record
ROUND = 15.5  # seconds that a record waits again when its topic has refused it: in one delay topic, then in memory
MOST_REFUSALS = 1_000  # topics that are remembered: their names come from records


class Forwarding:
    """Produces what is due; a record is done when the brokers have acknowledged it in its next topic.

    Only the mover's thread uses it.

    Args:
        tiers: the delay topics that a record may be produced to.
        topics: lists all topics of the brokers, and makes none.
    """

    def __init__(
        self,
        clock: BrokerClock,
        producer: KafkaProducer,
        targets: Targets,
        partitioner: Partitioner,
        *,
        tiers: Tiers,
        topics: Callable[[], Iterable[str]],
    ) -> None:
        self._tiers = tiers
        self._clock = clock
        self._producer = producer
        self._targets = targets
        self._topics = topics
        self._partitioner = partitioner
        self._due: list[tuple[float, int, DelayPartition, int, DelayedMessage]] = []
        self._numbers = itertools.count()
        self._refused: dict[str, float] = {}
        self._gone: set[str] = set()
        self._told: dict[tuple[str, type[QueueError]], float] = {}

    def next_at(self) -> float:
        """When the first record that waits in memory is due."""
        return self._due[0][0] if self._due else float("inf")

    def take(self, partition: DelayPartition, now: float) -> None:
        """Take the first record of a partition and produce it, or have it wait in memory."""
        offset, delayed = partition.take()
        if not delayed.is_ours:
            log.error(
                "a record of a delay topic is not ours; it goes to the default queue, and fails there",
                extra={"position": f"{partition}@{offset}", "queue": delayed.topic},
            )
        self._forward(partition, offset, delayed, now)

    def take_due(self, now: float) -> None:
        """Produce the records in memory that are due."""
        while self._due and self._due[0][0] <= now:
            _, _, partition, offset, delayed = heapq.heappop(self._due)
            if not partition.lost:
                self._forward(partition, offset, delayed, now)

    def _forward(self, partition: DelayPartition, offset: int, delayed: DelayedMessage, now: float) -> None:
        left = delayed.due - now
        if left <= 0:
            self._send(partition, offset, delayed, delayed.topic, delayed.message)
        elif left < self._tiers.seconds[0]:
            self._wait(delayed.due, partition, offset, delayed)
        else:
            topic = self._tiers.topic(self._tiers.choose(left))
            record = wrap(delayed.message, delayed.topic, due=delayed.due, sent=now)
            self._send(partition, offset, delayed, topic, record)

    def _wait(self, until: float, partition: DelayPartition, offset: int, delayed: DelayedMessage) -> None:
        heapq.heappush(self._due, (until, next(self._numbers), partition, offset, delayed))

    def _send(
        self, partition: DelayPartition, offset: int, delayed: DelayedMessage, topic: str, message: Message
    ) -> None:
        moment = self._clock.moment()

        def told(error: QueueError | None, sent: KafkaMessage) -> None:
            if error is not None:
                self._on_refusal(partition, offset, delayed, topic, error)
            elif not partition.lost:
                learn(self._clock, sent, moment)
                partition.done(offset)

        until = self._refused.get(topic, 0.0)
        if until > self._clock.now():
            self._postpone(partition, offset, delayed, until, goes_round=topic in self._gone)
            return
        try:
            if topic == delayed.topic:
                self._targets.check(topic, self._topics)
            self._producer.send_soon(topic, message, self._partitioner(topic, message), told)
        except QueueError as error:
            self._on_refusal(partition, offset, delayed, topic, error)

    def _on_refusal(
        self, partition: DelayPartition, offset: int, delayed: DelayedMessage, topic: str, error: QueueError
    ) -> None:
        """Brokers that are away are waited for. A topic that refuses holds up only its own jobs: they wait again."""
        now = self._clock.now()
        self._tell(f"{partition}@{offset}", topic, error, now)
        goes_round = topic == delayed.topic and not isinstance(error, Unavailable)
        if not isinstance(error, MessageTooLarge):
            self._refuse(topic, now, goes_round=goes_round)
        if not partition.lost:
            self._postpone(partition, offset, delayed, now + REFUSED, goes_round=goes_round)

    def _tell(self, position: str, topic: str, error: QueueError, now: float) -> None:
        kind = (topic, type(error))
        if self._told.get(kind, 0.0) >= now - REFUSED:
            return
        if len(self._told) >= MOST_REFUSALS:
            self._told.clear()
        self._told[kind] = now
        log.error(
            "a delayed job can't be moved; it stays, and is tried again",
            extra={"position": position, "queue": topic, "reason": str(error)},
        )

    def _refuse(self, topic: str, now: float, *, goes_round: bool) -> None:
        if len(self._refused) >= MOST_REFUSALS:
            self._refused.clear()
            self._gone.clear()
        self._refused[topic] = now + REFUSED
        (self._gone.add if goes_round else self._gone.discard)(topic)
        self._targets.forget(topic)

    def _postpone(
        self, partition: DelayPartition, offset: int, delayed: DelayedMessage, until: float, *, goes_round: bool
    ) -> None:
        """Keep it in memory until then, uncommitted; with `goes_round` it waits in a delay topic once more instead."""
        if goes_round:
            now = self._clock.now()
            self._wait(now, partition, offset, replace(delayed, due=now + ROUND))
        else:
            self._wait(until, partition, offset, delayed)
