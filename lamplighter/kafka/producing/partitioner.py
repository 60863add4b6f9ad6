"""Which partition a message goes to."""

from collections.abc import Callable

from lamplighter.contracts import Message

ANY_PARTITION = -1

Partitioner = Callable[[str, Message], int]  # the topic and the message; the number of the partition


def any_partition(topic: str, message: Message) -> int:
    """Leave the choice of the partition to librdkafka."""
    return ANY_PARTITION
