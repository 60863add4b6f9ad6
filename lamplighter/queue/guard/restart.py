"""The restart signal: a time in the cache that tells every worker to finish its job and end."""

import logging
import threading
import time
from collections.abc import Callable

from lamplighter.cache.repository import Cache
from lamplighter.errors import CacheError

log = logging.getLogger(__name__)

KEY = "illuminate:queue:restart"  # Laravel's, so that a PHP fleet and we restart together
DIGITS = 18  # of a number that PHP holds too
EVERY = 0.5  # seconds between two looks


class RestartSignal:
    """The signal in one cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def broadcast(self) -> int:
        """Tell every worker; the value, in seconds since 1970, always later than the one before."""
        now = int(time.time())
        before = self.read()
        value = now if before is None else max(now, before + 1)
        self._cache.forever(KEY, value)
        return value

    def read(self) -> int | None:
        """The value; None where there is none, or something else."""
        value = self._cache.get(KEY)
        if isinstance(value, str) and value.isdecimal() and len(value) <= DIGITS:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


class RestartWatch(threading.Thread):
    """Reads the signal beside the jobs. Only a value that is there and is another one stops the worker."""

    def __init__(self, read: Callable[[], int | None], *, started_at: float) -> None:
        super().__init__(name="lamplighter-restart", daemon=True)
        self._read = read
        self._on_restart: Callable[[], object] = lambda: None
        self._started_at = started_at
        self._own: int | None = None
        self._has_read = False
        self._is_out = False
        self._ended = threading.Event()

    def first_read(self) -> None:
        """Take the present value as this worker's own; call it before the application's code is imported."""
        try:
            self._own = self._read()
            self._has_read = True
        except CacheError as error:
            self._tell_outage(error)

    def begin(self, on_restart: Callable[[], object]) -> None:
        """Look twice a second until `end`; call `on_restart` once when the signal has come."""
        self._on_restart = on_restart
        self.start()

    def run(self) -> None:
        """What the thread does."""
        while not self._ended.wait(EVERY):
            if self.look():
                self._on_restart()
                return

    def look(self) -> bool:
        """Whether the signal has come; a cache that is empty, cleared or down is no signal."""
        try:
            value = self._read()
        except Exception as error:
            self._tell_outage(error)
            return False
        self._is_out = False
        if value is None:
            self._has_read = True
            return False
        if not self._has_read:
            # The first read failed: what is there now is ours, unless it was written after our start.
            self._has_read = True
            self._own = value
            # The value has no fraction: one of the second in which we started may be the later.
            return value >= int(self._started_at)
        return value != self._own

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _tell_outage(self, error: Exception) -> None:
        if not self._is_out:
            self._is_out = True
            log.warning("the cache can't be read; restarts are not seen until it is back", extra={"reason": str(error)})
