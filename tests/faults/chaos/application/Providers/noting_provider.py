"""Writes down what workers tell of their jobs, and puts a wrong clock in the place of the usual one."""

import os
import time
from typing import Any

from lamplighter import ServiceProvider
from lamplighter.contracts import Events
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.queue.events import JobFailed, JobReleased, JobTimedOut
from tests.faults.noting import note


class NotingProvider(ServiceProvider):
    """Listens where workers tell what has become of a job."""

    def register(self) -> None:
        """As on a host whose clock was stepped by CLOCK_SKEW seconds."""
        skew = float(os.environ.get("CLOCK_SKEW", "0"))
        if skew:
            self.app.instance(BrokerClock, BrokerClock(wall=lambda: time.time() + skew))

    def boot(self, events: Events) -> None:
        """Listen."""
        events.listen(JobFailed, lambda event: _tell("told failed", event, error=type(event.error).__name__))
        events.listen(JobReleased, lambda event: _tell("told released", event, delay=event.delay))
        events.listen(JobTimedOut, lambda event: _tell("told overdue", event))


def _tell(what: str, event: Any, **fields: Any) -> None:
    start = event.start
    place = {"position": start.delivery.position, "attempts": start.attempts}
    note(what, n=getattr(start.job, "n", None), **place, **fields)
