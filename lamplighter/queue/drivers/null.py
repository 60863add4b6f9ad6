"""A connection that takes every job and keeps none."""

from collections.abc import Iterable

from lamplighter.contracts import Message


class NullQueue:
    """For programs and tests that must not dispatch anything."""

    default_queue = "default"

    def __init__(self, connection: str) -> None:
        self.connection = connection

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Drop the message."""

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Drop the messages; how many there were."""
        return sum(1 for _ in messages)

    def close(self, *, timeout: float) -> bool:
        """Nothing to let go of."""
        return True
