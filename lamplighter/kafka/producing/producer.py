"""Pushes that return when the broker has acknowledged them."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, MessageTooLarge, QueueError
from lamplighter.kafka.partitions.headers import to_send
from lamplighter.kafka.producing.limits import too_large_text, too_large_to_send_text
from lamplighter.kafka.settings.client_errors import is_fatal
from lamplighter.kafka.settings.clientlog import client_logger
from lamplighter.kafka.settings.native import Producer
from lamplighter.kafka.topics.metadata import missing_text
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.support.forking import notice_fork, watch

log = logging.getLogger(__name__)

SINGLE_LINGER = 0  # ms
BULK_LINGER = 20  # ms
ALONE = -1  # in place of a linger: each message in a request of its own
LOOK = 1.0  # seconds of one look at a topic
CREATING = 2.0
SERVE = 0.05  # seconds of one poll; another thread's poll may have served our report
BESIDE = 0.001  # seconds of one poll where another producer's reports are awaited, too

_MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

Report = Callable[[KafkaError | None, KafkaMessage], None]
Told = Callable[[QueueError | None, KafkaMessage], object]


class Reports:
    """The delivery reports of one push: how many are still to come, and the first error among them."""

    __slots__ = ("error", "left")

    def __init__(self) -> None:
        self.left = 0
        self.error: KafkaError | None = None

    def __call__(self, error: KafkaError | None, message: KafkaMessage) -> None:
        self.left -= 1
        if error is not None and self.error is None:
            self.error = error


class KafkaProducer:
    """Producers of one connection, each made when it is first needed and warmed then; safe to use from any thread.

    Args:
        timeout: seconds for one push.
        creating: seconds that a topic may take to be there which brokers make by themselves.

    Attributes:
        ahead: how many messages are sent whose reports nobody waits for in `send`.
        is_leaving: whoever pushes is about to end, and waits for nothing that is not there.
    """

    def __init__(self, config: Mapping[str, Any], *, timeout: float, creating: float = CREATING) -> None:
        self._config = dict(config)
        self._timeout = timeout
        self._creating = creating
        self._producers: dict[int, Producer] = {}
        self._known: set[str] = set()
        self._small: set[str] = set()  # topics that refuse requests of a size which they take a message at a time
        self._refusal: KafkaError | None = None
        self.ahead = 0
        self.is_leaving = False
        self._lock = threading.Lock()
        watch(self, in_child=KafkaProducer._begin_as_child, locks=lambda producer: (producer._lock,))

    @property
    def brokers(self) -> str:
        """The brokers, for messages."""
        return str(self._config["bootstrap.servers"])

    def send(self, topic: str, messages: Iterable[tuple[Message, int]], *, bulk: bool) -> int:
        """Produce messages, each with its partition or -1, and wait for all reports; how many there were.

        Raises:
            BrokerUnavailable: a report is bad or missing after the timeout; what was sent may have arrived.
            MessageTooLarge: a message is larger than the topic takes.
            QueueError: the topic is missing, or the broker refuses.
        """
        notice_fork()
        deadline = time.monotonic() + self._timeout
        producer = self._producer_for(topic, BULK_LINGER if bulk else SINGLE_LINGER)
        self._know(producer, topic, deadline)
        reports = Reports()
        count = 0
        for message, partition in messages:
            reports.left += 1
            self._produce(producer, topic, message, partition, reports, deadline)
            count += 1
            if bulk:
                producer.poll(0)
                deadline = time.monotonic() + self._timeout
        while reports.left > 0 and time.monotonic() < deadline:
            self._poll(producer, SERVE)
        if reports.error is not None:
            raise self._translate(reports.error, topic)
        if reports.left > 0:
            raise BrokerUnavailable(f"{self.brokers} acknowledged nothing within {self._timeout:g} s.")
        return count

    def send_ahead(self, topic: str, message: Message, partition: int, pushes: Pushes) -> None:
        """Produce a message without waiting; its report goes to `pushes` when `serve` takes it.

        Raises:
            MessageTooLarge, QueueError, BrokerUnavailable: it can't be sent at all.
        """
        pushes.expect()
        try:
            self.send_soon(topic, message, partition, lambda error, _: pushes.report(error))
        except QueueError:
            pushes.report(None)  # the job hears of it by the exception
            raise

    def send_soon(self, topic: str, message: Message, partition: int, told: Told) -> None:
        """Produce a message without waiting; `told` is called by whoever takes its report.

        Raises:
            MessageTooLarge, QueueError, BrokerUnavailable: it can't be sent at all; `told` is not called then.
        """
        deadline = time.monotonic() + self._timeout
        producer = self._producer_for(topic, SINGLE_LINGER)
        self._know(producer, topic, deadline)

        def report(error: KafkaError | None, sent: KafkaMessage) -> None:
            with self._lock:
                self.ahead -= 1
            told(None if error is None else self._translate(error, topic), sent)

        with self._lock:
            self.ahead += 1
        try:
            self._produce(producer, topic, message, partition, report, deadline)
        except QueueError:
            with self._lock:
                self.ahead -= 1
            raise

    def look_for(self, topic: str) -> None:
        """Look whether a topic is there; brokers that make topics by themselves make it.

        Raises:
            QueueError: it is missing.
            BrokerUnavailable: no broker answers.
        """
        self._know(self._producer_for(topic, SINGLE_LINGER), topic, time.monotonic() + self._timeout)

    def serve(self, wait: float) -> None:
        """Take reports that have come, or the first one within `wait` seconds."""
        producer = self._producers.get(SINGLE_LINGER) or self._producers.get(ALONE)
        if producer is not None:
            self._poll(producer, wait)
        else:
            time.sleep(wait)  # it met a fatal error: whoever waits for its reports must not spin

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        metadata = self._producer(SINGLE_LINGER).list_topics(topic, timeout=self._timeout)
        return len(metadata.topics[topic].partitions)

    def leave(self) -> None:
        """Wait for no topic any more that is not there: whoever pushes is about to end."""
        self.is_leaving = True

    def close(self, *, timeout: float) -> bool:
        """Wait for what is still on its way; False when something is left."""
        deadline = time.monotonic() + timeout
        # Flushing takes reports, which need the lock, and may find that a producer is gone.
        left = sum(producer.flush(timeout) for producer in list(self._producers.values()))
        if ALONE in self._producers:  # to which the others may have handed over what was refused
            left += self._producers[ALONE].flush(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._producers.clear()
            self._known.clear()
        return left == 0

    def _producer(self, linger: int) -> Producer:
        producer = self._producers.get(linger)
        if producer is not None:
            return producer
        with self._lock:
            if linger not in self._producers:
                config = {**self._config}
                if linger == ALONE:
                    config |= {"batch.num.messages": 1, "max.in.flight.requests.per.connection": 5}
                elif "linger.ms" not in config or linger:
                    config["linger.ms"] = linger
                config["error_cb"] = self._on_error
                config["logger"] = client_logger()
                self._producers[linger] = Producer(config)
            return self._producers[linger]

    def _begin_as_child(self) -> None:
        """Make producers of one's own, when they are needed: what waits in the parent's is sent by the parent."""
        self._producers = {}
        self._known = set()  # a new producer is to be warmed
        self._refusal = None
        self.ahead = 0
        self.is_leaving = False
        self._lock = threading.Lock()

    def _producer_for(self, topic: str, linger: int) -> Producer:
        return self._producer(ALONE if topic in self._small else linger)

    def _poll(self, producer: Producer, wait: float) -> None:
        """Take reports that have come, or the first one within `wait` seconds or less."""
        alone = self._producers.get(ALONE)
        if alone is None or alone is producer:
            producer.poll(wait)
        elif not producer.poll(min(wait, BESIDE)):
            alone.poll(min(wait, BESIDE))

    def _know(self, producer: Producer, topic: str, deadline: float) -> None:
        """Look at a topic once: a missing one is told at once, and the metadata warm an idempotent producer.

        Without this its first report takes 0.5 s: it asks for its id before a broker is connected.
        """
        if topic in self._known:
            return
        self._refusal = None
        while True:
            left = deadline - time.monotonic()
            try:
                found = producer.list_topics(topic, timeout=max(0.1, min(left, LOOK))).topics.get(topic)
            except KafkaException as error:
                producer.poll(0)  # serves the error callback, which alone is told of wrong credentials
                if self._refusal is None and left > LOOK and not is_fatal(error.args[0]) and not self.is_leaving:
                    continue
                raise self._translate(self._refusal or error.args[0], topic) from error
            except ValueError as error:  # a NUL, or half of a surrogate pair
                raise QueueError(f"No topic is called {topic!r}: {error}.") from error
            if found is not None and found.partitions:
                self._known.add(topic)
                return
            # A broker that makes topics by itself says "unknown" once more before it has it.
            if self.is_leaving or self._timeout - left > self._creating or left <= 0:
                raise QueueError(missing_text([topic], self.brokers))
            time.sleep(0.05)

    def _produce(
        self, producer: Producer, topic: str, message: Message, partition: int, report: Report, deadline: float
    ) -> None:
        def reported(error: KafkaError | None, sent: KafkaMessage) -> None:
            if error is not None and error.code() in _TOO_LARGE and producer is not self._producers.get(ALONE):
                self._send_alone(topic, message, partition, report, error, sent)
            else:
                report(error, sent)

        while True:
            try:
                _send(producer, topic, message, partition, reported)
            except BufferError as error:
                if time.monotonic() >= deadline:
                    raise BrokerUnavailable(f"{self.brokers} took nothing for {self._timeout:g} s.") from error
                producer.poll(SERVE)
                continue
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise MessageTooLarge(too_large_to_send_text(self._config, topic)) from error
                raise self._translate(error.args[0], topic) from error
            except ValueError as error:
                raise QueueError(f"The message for {topic} has a header that can't be sent: {error}.") from error
            return

    def _send_alone(
        self, topic: str, message: Message, partition: int, report: Report, error: KafkaError, sent: KafkaMessage
    ) -> None:
        """Find out whether it was the message that was too large, or only all those of one request together."""

        def reported(again: KafkaError | None, sent: KafkaMessage) -> None:
            if again is None:
                self._small.add(topic)
            report(again, sent)

        try:
            _send(self._producer(ALONE), topic, message, partition, reported)
        except (BufferError, KafkaException):
            report(error, sent)

    def _translate(self, error: KafkaError, topic: str) -> QueueError:
        code = error.code()
        if code in _MISSING:
            self._known.discard(topic)
            return QueueError(missing_text([topic], self.brokers))
        if code in _TOO_LARGE:
            return MessageTooLarge(too_large_text(self._config, topic, error.str()))
        if code == KafkaError.TOPIC_EXCEPTION:
            return QueueError(f"The brokers {self.brokers} refuse the topic {topic}: {error.str()}")
        if error.fatal():
            # An idempotent producer that has met a fatal error refuses everything; the next push makes a new one.
            self._producers.clear()
            return BrokerUnavailable(f"The producer for {self.brokers} has to be made anew: {error.str()}")
        if is_fatal(error):
            return QueueError(f"The brokers {self.brokers} refuse this: {error.str()}. Check credentials and ACLs.")
        return BrokerUnavailable(f"{self.brokers} did not acknowledge within {self._timeout:g} s: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._refusal = error
        log.debug("producer error", extra={"reason": error.str(), "brokers": self.brokers})


def _send(producer: Producer, topic: str, message: Message, partition: int, report: Report) -> None:
    headers = to_send(message.headers) if message.headers else None
    producer.produce(topic, message.payload, message.key, partition, on_delivery=report, headers=headers)
