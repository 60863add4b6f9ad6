"""The delivery reports of one push."""

import time

from lamplighter.errors import ForkError, QueueError
from lamplighter.kafka.producing.clients import Clients
from lamplighter.kafka.settings.native import KafkaError
from lamplighter.kafka.settings.native import Message as KafkaMessage

SERVE = 0.05  # seconds of one poll; another thread's poll may have served our report


class Reports:
    """How many are still to come, how many were bad, and the first of these."""

    __slots__ = ("error", "failed", "left")

    def __init__(self) -> None:
        self.left = 0
        self.failed = 0
        self.error: KafkaError | None = None

    def __call__(self, error: KafkaError | None, message: KafkaMessage) -> None:
        self.left -= 1
        if error is not None:
            self.failed += 1
            self.error = self.error or error

    def come(self, clients: Clients, deadline: float, *, most: int = 0) -> None:
        """Take them until no more than so many are still to come."""
        while self.left > most and time.monotonic() < deadline:
            clients.poll(SERVE)

    def come_or_never(self, clients: Clients, deadline: float) -> None:
        """Take them, where one may be counted whose message was not sent."""
        while self.left > 0 and time.monotonic() < deadline and clients.are_busy():
            clients.poll(SERVE)

    def add_to(self, error: BaseException, sent: int) -> None:
        """Have an error say how many of the messages that were sent have arrived."""
        if isinstance(error, ForkError):
            return  # the parent waits for them
        arrived = max(0, sent - self.failed - max(0, self.left))
        told = f"{arrived:,} of {sent:,} messages that were sent are acknowledged."
        if isinstance(error, QueueError):
            error.args = (f"{error} {told}",)
        else:
            error.add_note(told)
