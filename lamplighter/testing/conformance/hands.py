"""One worker's connection, as the tests of connections hold it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import pytest

from lamplighter.contracts import DriverDelivery, WorkQueue
from lamplighter.errors import QueueError
from lamplighter.testing.conformance.base import Conformance
from lamplighter.testing.waiting import LONG


class Hand:
    """One worker's connection, open."""

    def __init__(self, queue: WorkQueue, names: Sequence[str], *, slots: int = 1) -> None:
        self.queue = queue
        self.bell: SimpleQueue[object] = SimpleQueue()
        self._names = names
        queue.open(names, self.bell, slots=slots)

    def pop(self, seconds: float = LONG) -> DriverDelivery:
        """The next job; it must come within so many seconds."""
        delivery = self.look(seconds)
        assert delivery is not None, f"no job came within {seconds:g} s"
        return delivery

    def look(self, seconds: float) -> DriverDelivery | None:
        """The next job, or None after so many seconds."""
        until = time.monotonic() + seconds
        while True:
            delivery = self.queue.pop(self._names, max(0.0, until - time.monotonic()))
            if delivery is not None or time.monotonic() >= until:
                return delivery

    def close(self) -> bool:
        """Leave as a worker does."""
        return self.queue.close(timeout=5)


Open = Callable[..., Hand]


class OnQueues(Conformance):
    """Connections that are open."""

    @pytest.fixture
    def opened(self, connect: Callable[[], WorkQueue], queues: tuple[str, str]) -> Iterator[Open]:
        """What opens one more connection, of both queues unless others are named, as one more worker would."""
        hands: list[Hand] = []

        def opened(names: Sequence[str] = queues, **options: Any) -> Hand:
            hands.append(Hand(connect(), names, **options))
            return hands[-1]

        yield opened
        for hand in hands:
            with suppress(QueueError):
                hand.close()
