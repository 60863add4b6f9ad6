"""Pushes that return when the broker has acknowledged them."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable, MessageTooLarge, QueueError
from lamplighter.kafka.partitions.headers import to_send
from lamplighter.kafka.producing.clients import Clients
from lamplighter.kafka.producing.limits import TopicLimits, too_large_to_send_text
from lamplighter.kafka.producing.reports import SERVE, Reports
from lamplighter.kafka.settings.client_errors import is_about_access, is_fatal
from lamplighter.kafka.settings.native import KafkaError, KafkaException, Producer
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.kafka.topics.metadata import missing_text, no_topic_text
from lamplighter.queue.dispatching.pushes import Pushes
from lamplighter.support.forking import notice_fork, watch

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds of one look at a topic
CREATING = 2.0
INTERRUPTED = 2.0  # seconds that reports are waited for at most, where the program is to end
MOST_SENT = 2_000  # messages of a bulk push that are on their way: single ones of other threads stand behind them

_MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# What a producer says of the messages that it has in hand when it meets a fatal error.
_GIVEN_BACK = frozenset({KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_LATE = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT})

Report = Callable[[KafkaError | None, KafkaMessage], None]
Told = Callable[[QueueError | None, KafkaMessage], object]


class KafkaProducer:
    """Sends messages of one connection; safe to use from any thread.

    A producer of librdkafka that meets a fatal error is replaced: what it had not sent is reported as failed to whoever
    pushed it, and the next push goes by a new one.

    Args:
        timeout: seconds for one push.
        creating: seconds that a topic may take to be there which brokers make by themselves.
        where: tells before each push where the brokers are now; None where they keep their addresses.

    Attributes:
        ahead: how many messages are sent whose reports nobody waits for in `send`.
        is_leaving: whoever pushes is about to end, and waits for nothing that is not there.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        timeout: float,
        creating: float = CREATING,
        where: Callable[[], str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._creating = creating
        self._where = where
        self._clients = self._make_clients(config)
        self._known: set[str] = set()
        self._limits = TopicLimits()
        self._small: set[str] = set()  # topics that refuse requests of a size which they take a message at a time
        self._refusal: KafkaError | None = None
        self.ahead = 0
        self.is_leaving = False
        self._lock = threading.Lock()
        watch(self, in_child=KafkaProducer._begin_as_child, locks=lambda producer: (producer._lock,))

    @property
    def brokers(self) -> str:
        """The brokers, for messages."""
        return self._clients.brokers

    def send(self, topic: str, messages: Iterable[tuple[Message, int]], *, bulk: bool) -> int:
        """Produce messages, each with its partition or -1, and wait for all reports; how many there were.

        Whatever ends it early, be it raised by `messages`, it waits for the reports of those that are sent, and the
        error says how many of them have arrived.

        Raises:
            BrokerUnavailable: a report is bad or missing after the timeout; what was sent may have arrived.
            MessageTooLarge: a message is larger than the topic takes.
            QueueError: the topic is missing, or the broker refuses.
        """
        notice_fork()
        self._follow()
        clients = self._clients  # what is under way in a child of a fork ends there: it has others
        deadline = time.monotonic() + self._timeout
        self._know(self._client_for(topic), topic, deadline)
        reports = Reports()
        sent = 0
        try:
            for message, partition in messages:
                reports.left += 1
                try:
                    self._produce(clients, topic, message, partition, reports, deadline)
                except QueueError:
                    reports.left -= 1  # it was not sent
                    raise
                sent += 1
                if bulk:
                    clients.poll(0)
                    deadline = time.monotonic() + self._timeout
                    if reports.left > MOST_SENT:
                        reports.come(clients, deadline, most=MOST_SENT)
                if reports.error is not None:
                    break
            reports.come(clients, deadline)
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C, or the end of a slot
                deadline = min(deadline, time.monotonic() + INTERRUPTED)
            if sent:
                reports.come_or_never(clients, deadline)
                reports.add_to(error, sent)
            raise
        failure = self._failure(reports, topic)
        if failure is not None:
            if sent > 1:
                reports.add_to(failure, sent)
            raise failure
        return sent

    def send_ahead(self, topic: str, message: Message, partition: int, pushes: Pushes) -> None:
        """Produce a message without waiting; its report goes to `pushes` when `serve` takes it.

        Raises:
            MessageTooLarge, QueueError, BrokerUnavailable: it can't be sent at all.
        """
        pushes.expect()
        is_told = False

        def told(error: QueueError | None, _: KafkaMessage | None) -> None:
            nonlocal is_told
            if not is_told:  # an exception may come in between when the message was sent
                is_told = True
                pushes.report(error)

        try:
            self.send_soon(topic, message, partition, told)
        except BaseException:
            told(None, None)  # the job hears of it by the exception
            raise

    def send_soon(self, topic: str, message: Message, partition: int, told: Told) -> None:
        """Produce a message without waiting; `told` is called by whoever takes its report.

        Raises:
            MessageTooLarge, QueueError, BrokerUnavailable: it can't be sent at all; `told` is not called then.
        """
        if self._where is not None:
            self._follow()
        deadline = time.monotonic() + self._timeout
        is_ahead = True

        def report(error: KafkaError | None, sent: KafkaMessage) -> None:
            nonlocal is_ahead
            if is_ahead:
                with self._lock:
                    self.ahead -= 1
                is_ahead = False
            told(None if error is None else self._translate(error, topic), sent)

        with self._lock:
            self.ahead += 1
        try:
            self._produce(self._clients, topic, message, partition, report, deadline)
        except BaseException:
            # It may have been sent, where something of another kind came in between.
            if is_ahead:
                with self._lock:
                    self.ahead -= 1
                is_ahead = False
            raise

    def look_for(self, topic: str) -> None:
        """Look whether a topic is there; brokers that make topics by themselves make it.

        Raises:
            QueueError: it is missing.
            BrokerUnavailable: no broker answers.
        """
        self._follow()
        self._know(self._client_for(topic), topic, time.monotonic() + self._timeout)

    def serve(self, wait: float) -> None:
        """Take reports that have come, or the first one within `wait` seconds."""
        self._clients.poll(wait)

    def leave(self) -> None:
        """Wait for no topic any more that is not there: whoever pushes is about to end."""
        self.is_leaving = True

    def close(self, *, timeout: float) -> bool:
        """Wait for what is still on its way; False when something is left."""
        is_all = self._clients.close(time.monotonic() + timeout)
        self._forget_topics()
        return is_all

    def _make_clients(self, config: Mapping[str, Any]) -> Clients:
        return Clients(config, on_error=self._on_error, on_replaced=self._forget_topics)

    def _begin_as_child(self) -> None:
        """Begin with producers of one's own: what waits in the parent's is sent by the parent."""
        self._clients = self._make_clients(self._clients.config)
        self._forget_topics()
        self._refusal = None
        self.ahead = 0
        self.is_leaving = False
        self._lock = threading.Lock()

    def _follow(self) -> None:
        """Go where the brokers are now."""
        if self._where is not None and (address := self._where()) != self.brokers:
            self._clients.move_to(address)

    def _forget_topics(self) -> None:
        self._known = set()  # a new producer is to be warmed

    def _client_for(self, topic: str) -> Producer:
        return self._clients.alone() if topic in self._small else self._clients.shared()

    def _failure(self, reports: Reports, topic: str) -> QueueError | None:
        if reports.error is not None:
            return self._translate(reports.error, topic)
        if reports.left > 0:
            return BrokerUnavailable(f"{self.brokers} acknowledged nothing within {self._timeout:g} s.")
        return None

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
                self._clients.poll(0)  # serves the error callback, which alone is told of wrong credentials
                if self._refusal is None and left > LOOK and not is_fatal(error.args[0]) and not self.is_leaving:
                    continue
                raise self._translate(self._refusal or error.args[0], topic) from error
            except ValueError as error:  # a NUL, or half of a surrogate pair
                raise QueueError(no_topic_text(topic, error)) from error
            if found is not None and found.partitions:
                self._known.add(topic)
                return
            # A broker that makes topics by itself says "unknown" once more before it has it.
            if self.is_leaving or self._timeout - left > self._creating or left <= 0:
                raise QueueError(missing_text([topic], self.brokers))
            time.sleep(0.05)

    def _produce(
        self, clients: Clients, topic: str, message: Message, partition: int, report: Report, deadline: float
    ) -> None:
        may_replace = True
        while True:
            producer = clients.alone() if topic in self._small else clients.shared()
            if topic not in self._known:
                self._know(producer, topic, deadline)
            try:
                _send(producer, topic, message, partition, self._reported(producer, topic, message, partition, report))
            except BufferError as error:
                if time.monotonic() >= deadline:
                    raise BrokerUnavailable(f"{self.brokers} took nothing for {self._timeout:g} s.") from error
                clients.poll(SERVE)
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise MessageTooLarge(too_large_to_send_text(clients.config, topic)) from error
                if code != KafkaError._FATAL:
                    raise self._translate(error.args[0], topic) from error
                # It takes nothing any more, so that this message was not sent.
                clients.give_up(producer)
                if not may_replace:
                    raise self._translate(error.args[0], topic) from error
                may_replace = False
            except ValueError as error:
                raise QueueError(f"The message for {topic} has a header that can't be sent: {error}.") from error
            else:
                return

    def _reported(self, producer: Producer, topic: str, message: Message, partition: int, report: Report) -> Report:
        def reported(error: KafkaError | None, sent: KafkaMessage) -> None:
            if error is not None and error.code() in _TOO_LARGE and not self._clients.is_alone(producer):
                self._send_alone(topic, message, partition, report, error, sent)
            else:
                report(error, sent)

        return reported

    def _send_alone(
        self, topic: str, message: Message, partition: int, report: Report, error: KafkaError, sent: KafkaMessage
    ) -> None:
        """Find out whether it was the message that was too large, or only all those of one request together."""

        def reported(again: KafkaError | None, sent: KafkaMessage) -> None:
            if again is None:
                self._small.add(topic)
            report(again, sent)

        alone = self._clients.alone()
        try:
            _send(alone, topic, message, partition, reported)
        except BufferError:
            report(error, sent)
        except KafkaException as met:
            if met.args[0].code() == KafkaError._FATAL:
                self._clients.replace(alone, met.args[0].str())
            report(met.args[0], sent)

    def _translate(self, error: KafkaError, topic: str) -> QueueError:
        code = error.code()
        if code in _MISSING:
            self._known.discard(topic)
            return QueueError(missing_text([topic], self.brokers))
        if code in _TOO_LARGE:
            return MessageTooLarge(self._limits.too_large_text(self._clients.config, topic, error.str()))
        if code == KafkaError.TOPIC_EXCEPTION:
            return QueueError(f"The brokers {self.brokers} refuse the topic {topic}: {error.str()}")
        # The code of what is given back tells only that the producer could not go on.
        cause = self._clients.fatal or error if code in _GIVEN_BACK else error
        why = self._clients.why if code in _GIVEN_BACK else error.str()
        if is_about_access(cause):
            return QueueError(f"The brokers {self.brokers} refuse this: {cause.str()}. Check credentials and ACLs.")
        if code in _GIVEN_BACK or error.fatal():
            return BrokerUnavailable(
                f"A producer for {self.brokers} could not go on, and the next push uses a new one. This message was "
                f"not acknowledged, so push it again. The reason: {why}"
            )
        if is_fatal(error):
            return QueueError(f"The brokers {self.brokers} refuse this: {error.str()}.")
        if code in _LATE:
            return BrokerUnavailable(f"{self.brokers} did not acknowledge within {self._timeout:g} s: {error.str()}")
        return BrokerUnavailable(f"{self.brokers} did not acknowledge: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            self._refusal = error
        log.debug("producer error", extra={"reason": error.str(), "brokers": self.brokers})


def _send(producer: Producer, topic: str, message: Message, partition: int, report: Report) -> None:
    headers = to_send(message.headers) if message.headers else None
    producer.produce(topic, message.payload, message.key, partition, on_delivery=report, headers=headers)
