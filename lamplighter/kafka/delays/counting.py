"""Counts what groups have not done, without joining them."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from lamplighter.errors import BrokerUnavailable, QueueError
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.delays.tiers import Waiting, is_question
from lamplighter.kafka.handover import Handover
from lamplighter.kafka.metadata import missing_text
from lamplighter.kafka.settings import KafkaSettings

TIMEOUT = 8.0  # seconds for one question to the brokers
BATCH = 500
MOST = 100_000  # records of the delay topics that are looked at


class Counting:
    """Asks the brokers of one connection."""

    def __init__(self, settings: KafkaSettings, config: Callable[[], Mapping[str, Any]]) -> None:
        self._settings = settings
        self._config = config

    def pending(self, queue: str) -> int:
        """How many jobs of a topic are not finished: the lag, without what is finished beyond the committed offset.

        Raises:
            QueueError: there is no such topic.
            BrokerUnavailable: no broker answers.
        """
        with self._consumer(self._settings.consumer_group_id) as consumer:
            places = self._places(consumer, queue)
            if not places:
                raise QueueError(missing_text([queue], self._settings.brokers))
            total = 0
            for tp in consumer.committed(places, timeout=TIMEOUT):
                low, high = consumer.get_watermark_offsets(TopicPartition(queue, tp.partition), timeout=TIMEOUT)
                start = max(low, tp.offset)
                total += max(0, high - start - _done_beyond(tp.metadata, start))
            return total

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """What waits in the delay topics, each with its position; as many as may be looked at."""
        with self._consumer(self._settings.delays_group) as consumer:
            places = [place for topic in self._settings.tiers.topics() for place in self._places(consumer, topic)]
            left: dict[tuple[str, int], int] = {}
            starts = []
            for tp in consumer.committed(places, timeout=TIMEOUT) if places else ():
                low, high = consumer.get_watermark_offsets(TopicPartition(tp.topic, tp.partition), timeout=TIMEOUT)
                start = max(low, tp.offset)
                if start < high:
                    left[tp.topic, tp.partition] = high
                    starts.append(TopicPartition(tp.topic, tp.partition, start))
            consumer.assign(starts)
            yield from _read(consumer, left, targets_of(self._settings).read)

    @contextmanager
    def _consumer(self, group: str) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **self._config(),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "client.id": f"lamplighter-counting-{uuid.uuid4().hex[:8]}",
                "log_level": 0,  # what goes wrong is raised
            }
        )
        try:
            yield consumer
        except KafkaException as error:
            raise BrokerUnavailable(
                f"The brokers {self._settings.brokers} can't be asked: {error.args[0].str()}"
            ) from error
        finally:
            consumer.close()

    def _places(self, consumer: Consumer, topic: str) -> list[TopicPartition]:
        """The partitions of a topic; none where it is missing. Asking for all makes none."""
        found = consumer.list_topics(timeout=TIMEOUT).topics.get(topic)
        return [TopicPartition(topic, number) for number in found.partitions] if found is not None else []


def _read(
    consumer: Consumer, left: dict[tuple[str, int], int], read: Callable[[KafkaMessage], Waiting]
) -> Iterator[tuple[str, Waiting]]:
    heard, count = time.monotonic(), 0
    while left and count < MOST and time.monotonic() - heard < TIMEOUT:
        first = consumer.poll(0.2)
        for record in (first, *consumer.consume(BATCH, 0)) if first is not None else ():
            heard = time.monotonic()
            place, error = (str(record.topic()), record.partition() or 0), record.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    left.pop(place, None)
                continue
            offset, end = record.offset() or 0, left.get(place, 0)
            if offset < end and not is_question(record):
                count += 1
                yield f"{place[0]}[{place[1]}]@{offset}", read(record)
            if offset + 1 >= end:
                left.pop(place, None)


def _done_beyond(metadata: str | None, position: int) -> int:
    """How many are finished beyond the committed offset, as its metadata say."""
    handover = Handover.decode(metadata, position)
    if handover is None or handover.frontier <= position:
        return 0
    return max(0, handover.frontier - position - len(handover.unfinished))
