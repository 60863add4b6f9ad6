"""What a client can learn about topics and commits from any broker."""

from collections.abc import Sequence
from typing import Any

from lamplighter.kafka.settings.native import KafkaError, TopicPartition


def missing_topics(client: Any, topics: Sequence[str], *, timeout: float = 5.0) -> list[str]:
    """Which of the topics the cluster does not have; asking for one creates it where the broker does that.

    Raises:
        KafkaException: no broker answers in time.
    """
    missing = []
    for topic in topics:
        found = client.list_topics(topic, timeout=timeout).topics.get(topic)
        absent = found is None or (found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART)
        if absent or (found is not None and not found.partitions and found.error is None):
            missing.append(topic)
    return missing


def missing_text(missing: Sequence[str], brokers: str) -> str:
    """What to do about missing topics."""
    names = ", ".join(missing)
    # In quotes: the console puts a full stop behind a message, which must not be copied along with the command.
    return (
        f"The brokers {brokers} have no topic {names}. "
        f"Create what is missing: `python artisan.py kafka:topics --create` makes those that the connection names"
    )


def no_topic_text(topic: str, error: ValueError) -> str:
    """What to say of a name that the client can't take: half of a surrogate pair in it, or a NUL."""
    return f"No topic is called {topic!r}: {error}."


def metadata_of(committed: TopicPartition) -> str | None:
    """What stands beside a committed offset; None where that can't be read.

    Of what another client has committed, librdkafka (2.16) does not mark the end: confluent-kafka reads on into what
    stands behind it in memory, and raises where that is no text. Our own texts end with a NUL, which the client adds.
    """
    try:
        return committed.metadata
    except UnicodeDecodeError:
        return None
