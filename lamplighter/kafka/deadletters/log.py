"""Reads a topic from given offsets to the end it has now, partition by partition, beside every group."""

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.polling.commit_errors import is_fatal
from lamplighter.kafka.settings.native import Consumer
from lamplighter.kafka.topics.metadata import missing_text

TIMEOUT = 8.0  # seconds for one question to the brokers
SILENCE = 30.0  # seconds without a message until the brokers count as gone
BATCH = 500


class TopicLog:
    """One topic, read with a client that joins no group and commits nothing.

    Attributes:
        ends: by partition, where the last reading has come to; the next one may begin there.
    """

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self.ends: dict[int, int] = {}
        self._brokers = str(config["bootstrap.servers"])
        self._topic = topic
        self._config = {
            **config,
            # A group is demanded by the client; nobody joins it.
            "group.id": f"lamplighter-letters-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # what retention takes away meanwhile is passed over
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 5,
            "log_level": 0,  # what goes wrong is raised
        }

    def read_on(self) -> Iterator[KafkaMessage]:
        """What was written since the last reading, each partition's messages in order.

        Raises:
            BrokerUnavailable: no broker answers.
            QueueError: there is no such topic.
        """
        consumer = Consumer(self._config)
        try:
            spans = self._spans(consumer)
            if spans:
                consumer.assign([TopicPartition(self._topic, number, span[0]) for number, span in spans.items()])
                yield from self._read(consumer, {number: end for number, (_, end) in spans.items()})
        except KafkaException as error:
            raise BrokerUnavailable(
                f"The topic {self._topic} of {self._brokers} can't be read: {error.args[0].str()}"
            ) from error
        finally:
            consumer.close()

    def _spans(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        found = consumer.list_topics(self._topic, timeout=TIMEOUT).topics.get(self._topic)
        if found is None or not found.partitions:
            raise QueueError(missing_text([self._topic], self._brokers))
        spans = {}
        for number in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=TIMEOUT)
            start = max(low, self.ends.get(number, low))
            if start < high:
                spans[number] = (start, high)
        return spans

    def _read(self, consumer: Consumer, ends: dict[int, int]) -> Iterator[KafkaMessage]:
        left = set(ends)
        heard_at = time.monotonic()
        while left:
            first = consumer.poll(0.5)
            # One `consume` alone would wait its whole time for a batch to be full.
            batch = [] if first is None else [first, *consumer.consume(BATCH, 0)]
            if batch:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > SILENCE:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing came for {SILENCE:g} s"))
            for message in batch:
                number, offset, error = message.partition() or 0, message.offset() or 0, message.error()
                if error is None and number in left and offset < ends[number]:
                    yield message
                if self._is_read(error) or offset + 1 >= ends.get(number, 0):
                    left.discard(number)
                    self.ends[number] = ends[number]

    def _is_read(self, error: KafkaError | None) -> bool:
        if error is None:
            return False
        if is_fatal(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(error)
        # Anything else is told about brokers that are away; silence decides.
        return error.code() == KafkaError._PARTITION_EOF
