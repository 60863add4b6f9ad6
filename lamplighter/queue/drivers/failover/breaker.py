"""A circuit breaker: what did not answer is left alone for a while, then tried by one caller."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lamplighter.errors import Unavailable
from lamplighter.support.forking import watch


class CircuitBreaker:
    """Shared by all threads of a process.

    Args:
        seconds: how long a service that did not answer is left alone.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._is_open = False
        self._until = 0.0
        self._is_tried = False
        self._lock = threading.Lock()
        watch(self, in_child=CircuitBreaker._begin_as_child, locks=lambda breaker: (breaker._lock,))

    def admits(self) -> bool:
        """Whether the service is to be called; when its time is over, by one caller until that one has an answer."""
        if not self._is_open:
            return True
        with self._lock:
            if self._is_open and (self._is_tried or self._clock() < self._until):
                return False
            self._is_tried = self._is_open
            return True

    @contextmanager
    def call(self, *, on_open: Callable[[Unavailable], object], on_close: Callable[[], object]) -> Iterator[None]:
        """Within it the service is called; Unavailable opens the circuit, and a call without an error closes it.

        What a job raises that was run in the call says nothing of the service.

        Args:
            on_open: told once of each outage.
            on_close: told when it is over.
        """
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Unavailable) or error.of_job:
                self._is_tried = False  # it says nothing of the service: the next caller tries it
            elif self._open():
                on_open(error)
            raise
        if self._is_open and self._close():
            on_close()

    def _open(self) -> bool:
        with self._lock:
            was_open, self._is_open = self._is_open, True
            self._is_tried = False
            self._until = self._clock() + self._seconds
            return not was_open

    def _close(self) -> bool:
        with self._lock:
            was_open, self._is_open = self._is_open, False
            self._is_tried = False
            return was_open

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        self._is_tried = False  # by a thread of the parent
