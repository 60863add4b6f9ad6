"""Waiting for a thing instead of for a time."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

T = TypeVar("T")

LONG = 30.0  # seconds after which a thing that did not happen never will
LOOK = 0.01
AGAIN = 1.0  # seconds until what goes on after it was broken off is broken off again


def wait_for(look: Callable[[], T], *, seconds: float = LONG, what: str = "it") -> T:
    """Look again and again until there is something that counts as true; what that is.

    Raises:
        AssertionError: it did not come in time.
    """
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(LOOK)
    return found


class Beside(Generic[T]):
    """A call in a thread of its own, which may hang: nobody waits for that thread, nor does the end of the process."""

    def __init__(self, call: Callable[[], T], *, what: str) -> None:
        self._what = what
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def result(self, seconds: float = LONG) -> T:
        """What it has returned.

        Raises:
            AssertionError: it did not end in time.
        """
        self._thread.join(seconds)
        if self._errors:
            raise self._errors[0]
        if not self._results:
            raise AssertionError(f"{self._what} did not end within {seconds:g} s")
        return self._results[0]

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._results.append(call())
        except BaseException as error:
            self._errors.append(error)


@contextmanager
def bounded(seconds: float, *, what: str) -> Iterator[None]:
    """Break off whatever the block waits for in the main thread; in others there is no bound.

    Raises:
        AssertionError: so many seconds are over; its trace shows what was waited for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def break_off(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{what} did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, break_off)
    # Again and again: a loop may take the first one for an error of a job.
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
