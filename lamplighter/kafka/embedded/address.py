"""Where the embedded broker is for a program that lives longer than it, and what chooses the partitions there."""

import threading
import time
from collections.abc import Callable

from lamplighter.contracts import Message
from lamplighter.kafka.embedded.placement import Placement
from lamplighter.support.forking import watch

LOOK_EVERY = 1.0  # seconds between two looks whether the broker is still the same


class BrokerAddress:
    """The address of the broker; another one when it has ended and one was begun anew, on another port.

    Safe to use from any thread.

    Args:
        find: finds the broker or starts it.
        has_ended: whether the broker at an address is gone.
    """

    def __init__(self, find: Callable[[], str], has_ended: Callable[[str], bool]) -> None:
        self._find = find
        self._has_ended = has_ended
        self._address = ""
        self._look_at = 0.0
        self._lock = threading.Lock()
        watch(self, in_child=BrokerAddress._begin_as_child, locks=lambda address: (address._lock,))

    def __call__(self) -> str:
        """`host:port`.

        Raises:
            BrokerUnavailable: it did not come up.
        """
        if time.monotonic() < self._look_at:
            return self._address
        with self._lock:
            if time.monotonic() >= self._look_at:
                if not self._address or self._has_ended(self._address):
                    self._address = self._find()
                self._look_at = time.monotonic() + LOOK_EVERY
            return self._address

    def _begin_as_child(self) -> None:
        """Find it anew: a child is a user by itself."""
        self._address = ""
        self._look_at = 0.0
        self._lock = threading.Lock()


class Placements:
    """Chooses the partition of each push by the placement of the broker that there is now.

    Args:
        make: makes the placement of the broker at an address.
    """

    def __init__(self, address: BrokerAddress, make: Callable[[str], Placement]) -> None:
        self._address = address
        self._make = make
        self._placement: tuple[str, Placement] | None = None
        self._lock = threading.Lock()
        watch(self, in_child=Placements._begin_as_child, locks=lambda placements: (placements._lock,))

    def place(self, topic: str, message: Message) -> int:
        """See `Placement.place`."""
        return self._now(self._address()).place(topic, message)

    def _now(self, address: str) -> Placement:
        placement = self._placement
        if placement is not None and placement[0] == address:
            return placement[1]
        with self._lock:
            if self._placement is None or self._placement[0] != address:
                self._placement = address, self._make(address)
            return self._placement[1]

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
