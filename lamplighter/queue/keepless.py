"""A connection that keeps no jobs: what it answers when it is asked about them."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from lamplighter.contracts import HeldJob, Message, Sizes
from lamplighter.errors import QueueError

WHY = "Its jobs end where they are dispatched."


class KeepsNoJobs:
    """The part of a `Queue` that is the same for all connections whose jobs end where they are dispatched."""

    lacks: Mapping[str, str] = MappingProxyType(
        dict.fromkeys(("work", "pause", "clear", "held", "cancel"), WHY)
        | {"delay": "It keeps no jobs: a delay is not waited for."}
    )

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """What becomes of a job is each connection's own."""
        raise NotImplementedError

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Push them one after the other; how many there were."""
        count = 0
        for message in messages:
            self.push(message, queue=queue)
            count += 1
        return count

    def sizes(self, queue: str) -> Sizes:
        """None are kept."""
        return Sizes(0, 0)

    def clear(self, queue: str) -> int:
        """Refused."""
        raise QueueError(self.lacks["clear"])

    def held(self, *, most: int) -> Sequence[HeldJob]:
        """Refused."""
        raise QueueError(self.lacks["held"])

    def cancel(self, id: str) -> int:
        """Refused."""
        raise QueueError(self.lacks["cancel"])

    def close(self, *, timeout: float) -> bool:
        """Nothing to let go of."""
        return True
