"""Keeps the leases of a worker from running out while its jobs run."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.delivery import LeasedDelivery
from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.worker.outages import Outages

log = logging.getLogger(__name__)

TICK = 0.5  # seconds between two looks; a worker that was frozen renews as soon as it goes on
PART = 3.0  # a lease is renewed when this part of it is over, so that two renewals may fail


class Renewing(threading.Thread):
    """Renews the leases of what is in hand, whatever the thread that pops is doing.

    Args:
        tell_ended: called twice a second, so that the store hears of ends also where no start follows.

    Attributes:
        looked_at: when this thread was last alive, on the monotonic clock.
    """

    def __init__(
        self, store: JobStore, in_hand: Callable[[], Collection[LeasedDelivery]], tell_ended: Callable[[], object]
    ) -> None:
        super().__init__(name="lamplighter-leases", daemon=True)
        self.looked_at = time.monotonic()
        self._store = store
        self._in_hand = in_hand
        self._tell_ended = tell_ended
        self._every = store.seconds / PART
        self._renewed_at = time.monotonic()
        self._ended = threading.Event()
        self._outages = Outages()

    def run(self) -> None:
        """Until `end`."""
        tick = min(TICK, self._every / 2)
        while not self._ended.wait(tick):
            self.looked_at = time.monotonic()
            self._tell_ended()
            if self.looked_at - self._renewed_at >= self._every:
                self._renew()

    def end(self, *, timeout: float) -> None:
        """Renew no more."""
        self._ended.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout)

    def _renew(self) -> None:
        began = time.monotonic()
        deliveries = {delivery.lease: delivery for delivery in self._in_hand() if not delivery.lease.is_lost}
        try:
            lost = self._store.renew(list(deliveries)) if deliveries else ()
        except QueueError as error:
            reason = one_line(error)
            if self._outages.is_new(reason):
                log.warning("the leases of jobs can't be renewed; others may run them, too", extra={"reason": reason})
            return
        except Exception:
            log.exception("the leases of jobs can't be renewed; others may run them, too")
            self._renewed_at = began  # asked again when it is due, not twice a second
            return
        self._renewed_at = began
        in_hand = set(self._in_hand())
        for lease in lost:
            if deliveries[lease] in in_hand:  # else it has ended meanwhile
                lease.is_lost = True
                log.warning("the lease of a job has run out", extra={"position": deliveries[lease].position})
