"""The restart signal: a time in the cache that tells every worker to finish its job and end."""

import logging
import math
import threading
import time
from collections.abc import Callable

import psutil

from lamplighter.cache.repository import Cache
from lamplighter.errors import CacheError
from lamplighter.queue.guard.control import NEVER

log = logging.getLogger(__name__)

KEY = "illuminate:queue:restart"  # Laravel's, so that a PHP fleet and we restart together
EXACT = "lamplighter:queue:restart"  # the same time with its fraction; only our own commands write it
DIGITS = 18  # of a number that PHP holds too
EVERY = 0.5  # seconds between two looks


class RestartSignal:
    """The signal in one cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def broadcast(self) -> int:
        """Tell every worker; the value, in seconds since 1970, always later than the one before."""
        now = time.time()
        before = self.read()
        value = int(now) if before is None else max(int(now), before + 1)
        self._cache.forever(EXACT, repr(now))  # first: whoever finds the value finds its fraction, too
        self._cache.forever(KEY, value)
        return value

    def read(self) -> int | None:
        """The value; None where there is none, or something else."""
        value = self._cache.get(KEY)
        if isinstance(value, str) and value.isdecimal() and len(value) <= DIGITS:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def read_exact(self) -> float | None:
        """When one of our own commands gave the signal last; None where none did."""
        value = self._cache.get(EXACT)
        try:
            found = float(value) if isinstance(value, str) else NEVER
        except ValueError:
            return None
        return found if math.isfinite(found) else None


class RestartWatch(threading.Thread):
    """Reads the signal beside the jobs.

    A value that was written after this process began stops the worker, since it may have read the code before that; so
    does, later, any value that is there and is another one.

    Args:
        started_at: when the process began, in seconds since 1970.
        read_exact: the time of the signal with its fraction, where it is known.
    """

    def __init__(
        self,
        read: Callable[[], int | None],
        *,
        started_at: float,
        read_exact: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__(name="lamplighter-restart", daemon=True)
        self._read = read
        self._read_exact = read_exact
        self._on_restart: Callable[[], object] = lambda: None
        self._started_at = started_at
        self._own: int | None = None
        self._has_read = False
        self._is_out = False
        self._ended = threading.Event()

    def first_read(self) -> None:
        """Take the present value as this worker's own, unless it is newer than the process."""
        try:
            self._take(self._read())
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
        if not self._has_read:  # the cache was down
            try:
                self._take(value)
            except CacheError:
                return False
        return value != self._own

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _take(self, value: int | None) -> None:
        is_newer = value is not None and self._is_newer(value)
        self._own = None if is_newer else value
        self._has_read = True

    def _is_newer(self, value: int) -> bool:
        """Whether a value was written after the process began."""
        second, latest = int(self._started_at), time.time() + 1
        if value > latest:
            # A clock was ahead once, and each later value is one more than that. When it was written tells only the
            # time that our own commands keep beside it.
            exact = self._read_exact()
            return exact is not None and self._started_at <= exact <= latest
        if value != second:
            return value > second
        # The value has no fraction. Where that is not known, one restart too many does less harm than one too few.
        exact = self._read_exact()
        return exact is None or int(exact) != value or exact >= self._started_at

    def _tell_outage(self, error: Exception) -> None:
        if not self._is_out:
            self._is_out = True
            log.warning("the cache can't be read; restarts are not seen until it is back", extra={"reason": str(error)})


def process_began() -> float:
    """When this process was started, in seconds since 1970, by the clock as it is set now."""
    now = time.time()
    process = psutil.Process()
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return min(now, process.create_time())
    # The time of the machine's start that psutil adds has no fraction.
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - (process.create_time() - psutil.boot_time())
    return now - max(0.0, age)
