"""What a consumer must find before it may work: its topics, and what the last owners of its partitions have left."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_END, OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from lamplighter.errors import QueueError
from lamplighter.kafka.commits import Verdict, judge
from lamplighter.kafka.metadata import missing_text, missing_topics

log = logging.getLogger(__name__)

METADATA_TIMEOUT = 5.0  # seconds for reading what a partition's last owner has committed
ASK_AGAIN = 0.2  # seconds
GIVE_UP = 30.0  # seconds in which the brokers say that this is no member of the group


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


def no_offset_text(message: Message, group: str) -> str:
    """What to do where the settings leave it to somebody to say where a group begins."""
    return (
        f"The group {group} has no committed offset of {message.topic()}[{message.partition()}] that the log still "
        f"has, and auto_offset_reset of the connection is error. Set it to earliest or latest, or commit an offset "
        f"for the group."
    )


def read_committed(
    consumer: Consumer, assigned: list[TopicPartition], *, stopping: threading.Event, alive: Callable[[], object]
) -> list[TopicPartition]:
    """What the last owners have left; without it a waiting job could run too early, so it is asked for again.

    Raises:
        QueueError: the brokers refuse to tell it.
    """
    began = time.monotonic()
    while assigned and not stopping.is_set():
        try:
            found = consumer.committed(assigned, timeout=METADATA_TIMEOUT)
            # The answer as a whole may be good, and that for one partition not.
            error = next((tp.error for tp in found if tp.error is not None), None)
            if error is None:
                return found
        except KafkaException as raised:
            error = raised.args[0]
        alive()
        verdict = judge(error)
        # While this runs the client can't be told that its membership is gone: it would ask for ever.
        is_out = verdict is Verdict.NOT_OURS and time.monotonic() - began >= GIVE_UP
        if verdict is Verdict.FATAL or is_out:
            raise QueueError(f"The brokers refuse to tell what the group has committed: {error.str()}")
        log.warning("committed offsets can't be read; asking again", extra={"reason": error.str()})
        stopping.wait(ASK_AGAIN)
    return [TopicPartition(tp.topic, tp.partition, OFFSET_INVALID) for tp in assigned]


def read_starts(
    consumer: Consumer, left: list[TopicPartition], *, stopping: threading.Event, alive: Callable[[], object]
) -> list[TopicPartition]:
    """Where a group begins that passes over what it finds: at the end where nothing is committed, else there.

    Where it has committed a lower partition of the topic the group is not new: a partition without an offset was
    added to it, and is worked from its beginning.

    Raises:
        QueueError: the brokers refuse to tell what is committed.
    """
    new = [tp for tp in left if tp.offset < 0]
    lower = {(tp.topic, number) for tp in new for number in range(tp.partition)}
    found = read_committed(consumer, [TopicPartition(*place) for place in lower], stopping=stopping, alive=alive)
    first: dict[str, int] = {}
    for tp in found:
        if tp.offset >= 0:
            first[tp.topic] = min(tp.partition, first.get(tp.topic, tp.partition))
    # One that stops may have been told nothing, and must not have the end committed.
    ends = {(tp.topic, tp.partition) for tp in new if tp.partition <= first.get(tp.topic, tp.partition)}
    if stopping.is_set():
        ends = set()
    return [
        TopicPartition(tp.topic, tp.partition, OFFSET_END if (tp.topic, tp.partition) in ends else OFFSET_INVALID)
        for tp in left
    ]
