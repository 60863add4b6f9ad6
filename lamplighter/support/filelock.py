"""A lock in a file, between the processes of one host."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamplighter.support.forking import watch

LOOK = 0.02  # seconds between two tries


class FileLock:
    """`flock` on one file. The file stays; who dies lets go of the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: set[int] = set()
        watch(self, in_child=FileLock._begin_as_child)

    @contextmanager
    def held(self, *, wait: float | None = None) -> Iterator[None]:
        """Hold it; by default wait for as long as another does.

        Raises:
            TimeoutError: another process, or another thread, has held it for `wait` seconds.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        self._open.add(file)
        try:
            _take(file, wait)
            yield
        finally:
            # Not in a child that was forked meanwhile: the lock is its parent's.
            if file in self._open:
                self._open.remove(file)
                # Not left to the closing: a child that was forked has the file open as well, and would keep the lock.
                fcntl.flock(file, fcntl.LOCK_UN)
                os.close(file)

    def _begin_as_child(self) -> None:
        # As long as one of two has the file open the lock is held, also when the other is gone.
        for file in self._open:
            os.close(file)
        self._open = set()


def try_lock(file: int) -> bool:
    """Take the lock of a file that is open; False where another has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(file: int, wait: float | None) -> None:
    if wait is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    until = time.monotonic() + wait
    while not try_lock(file):
        if time.monotonic() >= until:
            raise TimeoutError
        time.sleep(LOOK)
