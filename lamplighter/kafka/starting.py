"""What a consumer must find before it may work: its topics, and what the last owners of its partitions have left."""

import logging
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from lamplighter.errors import QueueError
from lamplighter.kafka.metadata import missing_text, missing_topics

log = logging.getLogger(__name__)

METADATA_TIMEOUT = 5.0  # seconds for reading what a partition's last owner has committed


def look_for_topics(consumer: Consumer, topics: Sequence[str], needed: Sequence[str], brokers: str) -> None:
    """Look whether the topics are there that are worked, and those that jobs write to.

    Raises:
        KafkaException: no broker answers.
        QueueError: a topic that is worked is missing.
    """
    missing = missing_topics(consumer, topics)
    absent = missing_topics(consumer, needed)
    if absent:
        # The broker may make them by itself, so that a missing one is only told.
        log.error(
            "a topic that jobs write to is missing; create it by `python artisan.py kafka:topics --create`",
            extra={"topics": ", ".join(absent), "brokers": brokers},
        )
    if missing:
        raise QueueError(missing_text(missing, brokers))


def read_committed(
    consumer: Consumer, assigned: list[TopicPartition], *, may_go_on: Callable[[], bool]
) -> list[TopicPartition]:
    """What the last owners have left; without it a waiting job could run too early, so it is asked for again."""
    while assigned and may_go_on():
        try:
            return consumer.committed(assigned, timeout=METADATA_TIMEOUT)
        except KafkaException as error:
            log.warning("committed offsets can't be read; asking again", extra={"reason": error.args[0].str()})
    return [TopicPartition(tp.topic, tp.partition, OFFSET_INVALID) for tp in assigned]
