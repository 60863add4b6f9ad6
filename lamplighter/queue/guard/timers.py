"""What bounds the end of a process: a C timer, and threads that are started without waiting for them.

A process without memory, or at its limit of threads, can start neither. Whoever asks is told, and goes on.
"""

import _thread
import faulthandler
import fcntl
import functools
import os
import sys
from collections.abc import Callable

LEAST = 0.001  # seconds of the C timer at least
OUT_OF_THE_WAY = (
    200  # the descriptor of the timer's output, where those that jobs open and close by number are below it
)


def arm(seconds: float) -> bool:
    """Have a C timer write all stacks and end the process with 1 then; False where it can't be started."""
    try:
        faulthandler.dump_traceback_later(max(LEAST, seconds), exit=True, file=_output())
    except (RuntimeError, MemoryError):
        return False
    return True


def disarm() -> None:
    """Stop the C timer."""
    faulthandler.cancel_dump_traceback_later()


def spawn(action: Callable[[], object]) -> bool:
    """Run an action in a thread that does not keep the process; False where none can be started.

    `threading.Thread.start` waits until the new thread runs: for ever, where that dies for want of memory.
    """
    try:
        _thread.start_new_thread(action, ())
    except (RuntimeError, MemoryError):
        return False
    return True


@functools.cache
def _output() -> int:
    """A descriptor of stderr of our own: a job may close `sys.stderr`."""
    try:
        return fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
    except OSError:  # stderr is closed, or there are few descriptors
        return _of_stderr()


def _of_stderr() -> int:
    try:
        return 2 if sys.__stderr__ is None else sys.__stderr__.fileno()
    except (OSError, ValueError):
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
