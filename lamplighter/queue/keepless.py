"""A connection that keeps no jobs: what it answers when it is asked about them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lamplighter.contracts import HeldJob, Sizes
from lamplighter.errors import QueueError

WHY = "Its jobs end where they are dispatched."


class KeepsNoJobs:
    """The part of a `Queue` that is the same for all connections whose jobs end where they are dispatched."""

    lacks: Mapping[str, str] = MappingProxyType(
        dict.fromkeys(("work", "pause", "clear", "held", "cancel"), WHY)
        | {"delay": "It keeps no jobs: a delay is not waited for."}
    )

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
