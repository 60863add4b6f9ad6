"""Services that jobs need and that are away, each told once."""

import threading
import time

QUIET = 60.0  # seconds without it after which an outage is over, and is told anew
MOST = 100  # outages that are remembered


class Outages:
    """Tells a new outage from one that goes on. The jobs that meet it come back every second."""

    def __init__(self) -> None:
        self._met: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_new(self, reason: str) -> bool:
        """Whether this was not met in the last minute; it has been now."""
        now = time.monotonic()
        with self._lock:
            if len(self._met) >= MOST:
                self._met = {known: at for known, at in self._met.items() if now - at <= QUIET}
            last = self._met.get(reason)
            self._met[reason] = now
        return last is None or now - last > QUIET
