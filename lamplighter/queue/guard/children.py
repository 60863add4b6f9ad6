"""Children that a job has forked: one that comes back into its worker ends there."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from lamplighter.queue.failed.trace import tellable
from lamplighter.support.foreign import as_integer
from lamplighter.support.streams import flush_output

log = logging.getLogger(__name__)


@contextmanager
def only_in_the_parent() -> Iterator[None]:
    """For the loop of a worker: whatever way a child has come out of it, it goes no further."""
    pid = os.getpid()
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        if os.getpid() != pid:
            leave(error)


def leave(error: BaseException | None = None) -> NoReturn:
    """End a child, with what has ended its job there.

    The job, its messages and its heartbeat are the parent's: the child settles nothing, and none of the parent's exit
    hooks runs, as in the children of `multiprocessing`. `sys.exit()` ends it as it ends a program; a child that
    returns, or raises anything else, was not meant to come back.
    """
    code = 1
    try:
        if error is not None:
            error = tellable(error)
        if isinstance(error, SystemExit):
            code = _exit_code(error)
        elif error is None:
            log.error("a process that a job has forked came back from it; it ends, and settles nothing")
        else:
            log.error("a process that a job has forked came back from it by an error; it ends", exc_info=error)
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        flush_output()
    finally:
        os._exit(code)  # whatever the job's error or the log has raised: else the child would go on as a worker


def _exit_code(error: SystemExit) -> int:
    """As the interpreter takes it."""
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return as_integer(code) & 0xFF
    with suppress(Exception):  # stderr may be closed, and the code may be anything
        sys.stderr.write(f"{code}\n")
    return 1
