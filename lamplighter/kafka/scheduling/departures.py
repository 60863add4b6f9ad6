"""Retries that go on as copies in delay topics, while their originals stay in hand."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from lamplighter.errors import MessageTooLarge, QueueError, UnsupportedDelay
from lamplighter.kafka.scheduling.delivery import KafkaDelivery

log = logging.getLogger(__name__)

AGAIN = 5.0  # seconds until a copy is published again that was refused


class Copies(Protocol):
    """Publishes copies; the reports of the brokers are taken by the thread that pops."""

    @property
    def under_way(self) -> int:
        """How many are published whose reports are not taken."""
        ...

    def send(self, delivery: KafkaDelivery, delay: float) -> None:
        """Publish a copy that runs after `delay` seconds.

        Raises:
            QueueError: it can't be published; MessageTooLarge and UnsupportedDelay: it never can.
        """
        ...

    def reported(self) -> Sequence[tuple[KafkaDelivery, QueueError | None]]:
        """Those whose reports have come, each with the error that it met."""
        ...


class Departures:
    """Which retries travel, and what becomes of their originals.

    Args:
        in_place: a retry that is due within so many seconds waits in its place.
        keep, wait, finish: what is done with an original: it stays in hand, waits in its place for so many seconds, or
            is done, as its copy has arrived.
    """

    def __init__(
        self,
        copies: Copies | None,
        *,
        in_place: float,
        keep: Callable[[KafkaDelivery], None],
        wait: Callable[[KafkaDelivery, float], None],
        finish: Callable[[KafkaDelivery], None],
    ) -> None:
        self._copies = copies
        self._in_place = in_place
        self._keep = keep
        self._wait = wait
        self._finish = finish

    @property
    def are_under_way(self) -> bool:
        """Whether an original waits for the report of its copy."""
        return self._copies is not None and self._copies.under_way > 0

    def may_travel(self, delivery: KafkaDelivery, delay: float, *, is_ordered: bool) -> bool:
        """Whether a retry goes on as a copy. A failure that is still to be recorded is known to its original alone."""
        if self._copies is None or delivery.failure is not None or delay <= 0:
            return False
        return delay > self._in_place or not is_ordered

    def depart(self, delivery: KafkaDelivery, delay: float) -> None:
        """Publish a copy that is due in `delay` seconds."""
        delivery.leaves_by = time.monotonic() + delay
        self.send_off(delivery)

    def send_off(self, delivery: KafkaDelivery) -> None:
        """Publish a copy; the original stays in hand until the brokers have it."""
        assert self._copies is not None  # else nothing may travel
        self._keep(delivery)
        try:
            self._copies.send(delivery, max(0.001, delivery.leaves_by - time.monotonic()))
        except QueueError as error:
            self._on_refusal(delivery, error)

    def take_reports(self) -> None:
        """Finish what has gone on as a copy, now that the brokers have that one."""
        for delivery, error in self._copies.reported() if self._copies is not None else ():
            if error is not None:
                self._on_refusal(delivery, error)
            else:
                self._finish(delivery)

    def _on_refusal(self, delivery: KafkaDelivery, error: QueueError) -> None:
        """It waits in its place, and the copy is tried again until it is due; what never fits has failed."""
        left = max(0.0, delivery.leaves_by - time.monotonic())
        if isinstance(error, MessageTooLarge | UnsupportedDelay):
            delivery.failure, delivery.leaves_by, left = error, 0.0, 0.0
        elif not delivery.partition.lost:
            log.warning(
                "a retry can't be published; it waits in its place",
                extra={"position": delivery.position, "due_in": round(left, 1), "reason": str(error)},
            )
        self._wait(delivery, min(AGAIN, left))
