"""Keeps the leases of a worker from running out while its jobs run."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from lamplighter.errors import QueueError, Unavailable
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
        look_after: called twice a second, so that the store hears of ends also where no start follows.

    Attributes:
        looked_at: when this thread was last alive, on the monotonic clock.
    """

    def __init__(
        self, store: JobStore, in_hand: Callable[[], Collection[LeasedDelivery]], look_after: Callable[[], object]
    ) -> None:
        super().__init__(name="lamplighter-leases", daemon=True)
        self.looked_at = time.monotonic()
        self._store = store
        self._in_hand = in_hand
        self._look_after = look_after
        self._tried_at = time.monotonic()
        self._ended = threading.Event()
        self._outages = Outages()

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(min(TICK, self._every() / 2)):
            self.look()

    def look(self) -> None:
        """Renew what is to be renewed now, and tell what has ended."""
        self.looked_at = time.monotonic()
        # First: what is told may take as long as a lease lasts.
        if self.looked_at - self._tried_at >= self._every():
            self._renew()
        self._tell()

    def lasts(self, delivery: LeasedDelivery) -> bool | None:
        """Whether the lease of a job that is to begin holds; None where that is not known, as while the store is away.

        It may have run out while this process or its store was frozen: the answer with the job comes late then, or this
        thread has not seen it yet.
        """
        now = time.monotonic()
        if now < delivery.leased_at + self._store.seconds:
            return True
        try:
            delivery.lease.is_lost = bool(self._store.renew([delivery.lease]))
        except Unavailable:
            return None
        delivery.leased_at = now
        return not delivery.lease.is_lost and (time.monotonic() < now + self._store.seconds or None)

    def end(self) -> None:
        """Renew no more."""
        self._ended.set()

    def await_end(self, *, timeout: float) -> None:
        """Wait until nothing is renewed any more."""
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout)

    def _every(self) -> float:
        """Read anew each time: a job of another producer may have brought a shorter lease."""
        return self._store.seconds / PART

    def _tell(self) -> None:
        try:
            self._look_after()
        except Exception as error:  # the thread that pops meets it, too, and ends the worker where it lasts
            reason = one_line(error)
            if self._outages.is_new(reason):
                trace = None if isinstance(error, QueueError) else error
                log.error("the store can't be told which jobs have ended", extra={"reason": reason}, exc_info=trace)

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
            self._tried_at = began  # asked again when it is due, not twice a second
            return
        self._tried_at = began
        for delivery in deliveries.values():
            delivery.leased_at = began
        in_hand = set(self._in_hand())
        for lease in lost:
            if deliveries[lease] in in_hand:  # else it has ended meanwhile
                lease.is_lost = True
                log.warning("the lease of a job has run out", extra={"position": deliveries[lease].position})
