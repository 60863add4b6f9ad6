"""Chooses where a delayed job waits: in which delay topic, or in the table."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, QueueError, UnsupportedDelay
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.delayed_message import CLOCK, wrap
from lamplighter.kafka.producing.partitioner import ANY_PARTITION
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.native import TIMESTAMP_LOG_APPEND_TIME
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.kafka.settings.settings import NO_TOPIC, TOPIC_NAMES, KafkaSettings
from lamplighter.kafka.settings.tiers import LONGEST
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

DAY = 86_400.0
ASK_AGAIN = 60.0  # seconds until brokers that did not tell their time are asked again
ASK = 2.0  # seconds that their answer is waited for
LEAST = 0.1  # seconds that a database has, however long they took for it


class Rows(Protocol):
    """The table of long delays, as far as jobs are put into it."""

    def put(self, message: Message, queue: str, due: float, *, timeout: float) -> str: ...


class Holding:
    """Delays the messages of one connection.

    Args:
        producer: makes the connection's producer.
        rows: makes the table; called only where delays are kept in one.
        retention: how long a delay topic keeps records, in seconds, in view of a wait there; None where that is not
            known, or without end.
    """

    def __init__(
        self,
        connection: str,
        settings: KafkaSettings,
        clock: BrokerClock,
        *,
        producer: Callable[[], KafkaProducer],
        rows: Callable[[], Rows],
        retention: Callable[[str, float], float | None],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._tiers = settings.tiers
        self._clock = clock
        self._producer = producer
        self._rows = rows
        self._retention = retention
        self._ask_at = 0.0
        self._asking = threading.Lock()
        watch(self, in_child=Holding._begin_as_child, locks=lambda holding: (holding._asking,))

    def _begin_as_child(self) -> None:
        self._asking = threading.Lock()

    def is_for_the_table(self, delay: float) -> bool:
        """Whether a job with this delay becomes a row.

        Raises:
            UnsupportedDelay: it is longer than anything is kept, or no number of seconds.
        """
        if not math.isfinite(delay) or delay > LONGEST:
            raise UnsupportedDelay(
                f"The connection {self._connection!r} holds a job back for {LONGEST / DAY:g} days at most, which is "
                f"{LONGEST:,.0f} s, and not for {delay:,.10g} s. Dispatch it with a shorter delay, and let it release "
                f"itself."
            )
        return delay > self._settings.delay_short and self._settings.delay_store == "database"

    def put(self, message: Message, queue: str, delay: float) -> None:
        """Write it as a row, which is committed when this returns, within `dispatch_timeout`.

        Raises:
            QueueError: no topic can have the queue's name, so that it could never be moved there; or others have
                locked the table for so long.
            Unavailable: the database does not answer.
            MigrationError: the table is not there.
        """
        if NO_TOPIC.search(queue):
            raise QueueError(f"No topic is called {queue!r}. {TOPIC_NAMES}")
        until = time.monotonic() + self._settings.dispatch_timeout
        self._ask_unless_fresh()
        timeout = max(LEAST, until - time.monotonic())
        self._rows().put(message, queue, self._clock.latest() + delay, timeout=timeout)

    def record(self, message: Message, queue: str, delay: float) -> tuple[str, Message]:
        """The delay topic for its first wait, and the message to produce there.

        Raises:
            UnsupportedDelay: the topic keeps nothing for so long.
        """
        seconds = self._tiers.choose(delay)
        topic, wait = self._tiers.topic(seconds), min(delay, seconds)
        # What is left after this wait is appended anew, in the next topic.
        retention = self._retention(topic, wait)
        if retention is not None and wait >= retention:
            raise UnsupportedDelay(
                f"The topic {topic} keeps records for {retention:,.10g} s (retention.ms), and a job that is to run in "
                f"{delay:,.10g} s has to wait there for {wait:,.10g} s. Raise its retention; `python artisan.py "
                f"kafka:topics` tells what is needed."
            )
        now = self._clock.latest()
        return topic, wrap(message, queue, due=now + delay, sent=now, wait=delay)

    def now(self) -> float:
        """The brokers' time; they are asked for it where nothing was learned for some minutes."""
        self._ask_unless_fresh()
        return self._clock.now()

    def _ask_unless_fresh(self) -> None:
        if not self._clock.is_fresh():
            with self._asking:  # no thread goes by this host's time while another one asks
                self._ask_once()

    def _ask_once(self) -> None:
        if self._clock.is_fresh() or time.monotonic() < self._ask_at:
            return
        self._ask_at = time.monotonic() + ASK_AGAIN
        try:
            ask(self._producer(), self._tiers.topics()[0], self._clock)
        except QueueError as error:
            log.warning("the brokers' time is not known; this host's is used", extra={"reason": str(error)})


def ask(producer: KafkaProducer, topic: str, clock: BrokerClock) -> bool:
    """Append an empty record to learn the time of its append; whether the clock has learned it.

    Raises:
        QueueError: it can't be appended.
    """
    told: list[QueueError | None] = []
    moment = clock.moment()

    def report(error: QueueError | None, sent: KafkaMessage) -> None:
        if error is None:
            learn(clock, sent, moment)
        told.append(error)

    producer.send_soon(topic, Message(b"", None, [(CLOCK, b"")]), ANY_PARTITION, report)
    until = time.monotonic() + ASK
    while not told and time.monotonic() < until and not producer.is_leaving:
        producer.serve(0.05)
    if not told:
        raise BrokerUnavailable(f"{producer.brokers} did not tell their time within {ASK:g} s.")
    if told[0] is not None:
        raise told[0]
    return clock.is_fresh()


def learn(clock: BrokerClock, record: Any, moment: float) -> None:
    """Learn the append time of a record that was sent at `moment`, unless its topic keeps the sender's time instead."""
    kind, stamp = record.timestamp()
    if kind == TIMESTAMP_LOG_APPEND_TIME:
        clock.learn(stamp / 1000, moment)
