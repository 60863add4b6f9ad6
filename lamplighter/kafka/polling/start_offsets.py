"""What a consumer must find before it may work: its topics, and what the last owners of its partitions have left."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from lamplighter.errors import QueueError
from lamplighter.kafka.settings.client_errors import Verdict, judge
from lamplighter.kafka.settings.native import (
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
)
from lamplighter.kafka.topics.metadata import missing_text, missing_topics

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
    """What the last owners have left, asked for until it is told; nothing where the worker stops meanwhile.

    Without it a waiting job would run too early, and a job that kills its worker would be started once more.

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
    return []


def read_new_topics(
    consumer: Consumer, topics: Sequence[str], *, stopping: threading.Event, alive: Callable[[], object]
) -> dict[str, int]:
    """Of which topics the group has committed nothing yet, and how many partitions they have.

    To be asked before joining: of workers that start a group together, one may commit before the other is assigned its
    partitions.

    Raises:
        KafkaException: no broker answers.
        QueueError: the brokers refuse to tell what is committed.
    """
    found = {name: consumer.list_topics(name, timeout=METADATA_TIMEOUT).topics[name] for name in topics}
    counts = {name: len(topic.partitions) for name, topic in found.items()}
    places = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    begun = {tp.topic for tp in read_committed(consumer, places, stopping=stopping, alive=alive) if tp.offset >= 0}
    # One that stops may have been told nothing.
    return {} if stopping.is_set() else {name: count for name, count in counts.items() if name not in begun}


def start_of(left: TopicPartition, new_topics: Mapping[str, int]) -> TopicPartition:
    """Where a partition is begun: where its last owner left it, or at its end where it is new to a new group.

    A partition that was added later is worked from its beginning.
    """
    is_new = left.offset < 0 and left.partition < new_topics.get(left.topic, 0)
    return TopicPartition(left.topic, left.partition, OFFSET_END if is_new else OFFSET_INVALID)
