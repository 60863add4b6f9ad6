"""Retries that are published as copies: the original stays in hand until its copy is acknowledged."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge, QueueError, UnsupportedDelay
from lamplighter.kafka.delays.holding import Holding
from lamplighter.kafka.producing.partitioner import Partitioner
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.settings.native import Message as KafkaMessage
from lamplighter.queue.failed.attempts import with_attempts

AGAIN = 5.0  # seconds until a copy is published again, when one was refused


class Copies:
    """Publishes copies. Their delivery reports may come on any thread; the thread that pops takes them by `reported`.

    Attributes:
        under_way: how many were published whose reports are not taken yet.
        refusal: the brokers' error for the last copy; None when they took it.
    """

    def __init__(
        self,
        holding: Holding,
        *,
        producer: Callable[[], KafkaProducer],
        partitioner: Partitioner,
        max_bytes: int,
        changed: Callable[[], object],
    ) -> None:
        self.under_way = 0
        self.refusal: QueueError | None = None
        self._not_before = 0.0
        self._holding = holding
        self._producer = producer
        self._partitioner = partitioner
        self._max_bytes = max_bytes
        self._changed = changed
        self._reports: SimpleQueue[tuple[KafkaDelivery, QueueError | None]] = SimpleQueue()

    def send(self, delivery: KafkaDelivery, delay: float) -> None:
        """Publish a copy that runs after the delay, with the attempts so far in its body.

        A retry needs no database, which may be what has failed: it waits in the delay topics, however long.

        Raises:
            MessageTooLarge: no topic would take it.
            UnsupportedDelay: nothing is held back for so long.
            QueueError: it can't be published now.
        """
        if self.refusal is not None and time.monotonic() < self._not_before:
            # Whoever pops must not wait for the brokers once for each job.
            raise self.refusal
        try:
            self._send(delivery, delay)
        except (MessageTooLarge, UnsupportedDelay):
            raise
        except QueueError as error:
            self._note(error)
            raise

    def _send(self, delivery: KafkaDelivery, delay: float) -> None:
        self._holding.is_for_the_table(delay)
        payload = with_attempts(delivery.payload, delivery.retries)
        if payload is None:
            raise QueueError("The attempts can't be counted in this payload, so that it has to wait in its place.")
        message = Message(payload, delivery.key, delivery.headers)
        topic, record = self._holding.record(message, delivery.queue, delay)
        self._check_size(record, topic)

        def report(error: QueueError | None, _: KafkaMessage) -> None:
            self._reports.put((delivery, error))
            self._changed()

        self._producer().send_soon(topic, record, self._partitioner(topic, record), report)
        self.under_way += 1

    def reported(self) -> list[tuple[KafkaDelivery, QueueError | None]]:
        """The deliveries whose reports have come, each with its error, or None."""
        found = []
        while True:
            try:
                found.append(self._reports.get_nowait())
            except Empty:
                break
        self.under_way -= len(found)
        for _, error in found:
            if not isinstance(error, MessageTooLarge):
                self._note(error)
        return found

    def _note(self, refusal: QueueError | None) -> None:
        self.refusal = refusal
        self._not_before = time.monotonic() + AGAIN

    def _check_size(self, record: Message, topic: str) -> None:
        size = len(record.payload) + len(record.key or b"")
        if size > self._max_bytes:
            raise MessageTooLarge(
                f"The job can't be put back for later: with its attempts it has {size:,} bytes, and {topic} takes "
                f"{self._max_bytes:,} (max_message_bytes)."
            )
