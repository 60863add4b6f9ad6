"""Locks between the processes of one project: on files, so that the kernel lets go of them when their holder ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamplighter.errors import BrokerUnavailable

LOOK = 0.02  # seconds between two tries


@contextmanager
def locked(path: Path, *, wait: float) -> Iterator[None]:
    """Hold a lock file, against the other threads of this process, too.

    Raises:
        BrokerUnavailable: somebody else has held it for `wait` seconds.
        OSError: the file can't be opened, as where its folder is gone.
    """
    until = time.monotonic() + wait
    while (descriptor := try_open(path, os.O_RDWR | os.O_CREAT)) is None:
        if time.monotonic() >= until:
            raise BrokerUnavailable(f"Another process has held the lock {path} of the embedded broker for {wait:g} s.")
        time.sleep(LOOK)
    try:
        yield
    finally:
        let_go(descriptor)


def let_go(descriptor: int) -> None:
    """Unlock an open file, and close it."""
    # A process that was forked meanwhile has the descriptor, too: a close alone would leave it locked there.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def try_open(path: Path, flags: int) -> int | None:
    """Open a file or folder and lock it, until the descriptor is closed; None where another has it.

    Raises:
        OSError: it can't be opened, or not be locked.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    is_ours = False
    try:
        # Of a file that was deleted meanwhile, others lock the one that has come in its place.
        is_ours = take(descriptor) and is_open_at(path, descriptor)
        return descriptor if is_ours else None
    finally:
        if not is_ours:
            os.close(descriptor)


def take(descriptor: int) -> bool:
    """Lock an open file until the descriptor is closed; False where another has it."""
    return _flock(descriptor, fcntl.LOCK_EX)


def is_held(path: Path) -> bool:
    """Whether somebody holds a file; one that is not there is held by nobody."""
    try:
        # A pipe that somebody has put there would be waited for until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at the same moment don't see each other.
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        let_go(descriptor)


def is_open_at(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to an open file, and not to another one or none."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _flock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
