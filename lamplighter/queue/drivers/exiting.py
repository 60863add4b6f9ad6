"""Jobs that wait for the end of the program."""

import atexit
import faulthandler
import logging
import os
import sys
import threading
import time
from contextlib import suppress

from lamplighter.errors import QueueError
from lamplighter.queue.dispatching.deferring import Deferred, Waiting
from lamplighter.queue.guard.ending import bounded
from lamplighter.support.forking import watch
from lamplighter.support.streams import flush_output

log = logging.getLogger(__name__)

EXIT = 10.0  # seconds in which jobs begin
LAST = 5.0  # seconds that the last of them may go on
RECORD = 10.0  # seconds for recording what has not come to its end by then
MOST = 1000  # jobs that wait: a server without a block around its requests would keep them for ever


class AtExit:
    """The jobs of all connections, with one deadline: one that hangs takes no other one with it."""

    def __init__(self) -> None:
        self._deferred = Deferred()
        self._begins = threading.Event()
        self._is_done = threading.Event()
        self._is_ready = False
        self._lock = threading.Lock()
        watch(self, in_child=AtExit._begin_as_child, locks=lambda waiting: (waiting._lock,))

    def add(self, job: Waiting, connection: str) -> bool:
        """Keep a job until the end; False where the program is ending, and it has to be run at once.

        Raises:
            QueueError: too many wait for it.
        """
        with self._lock:
            if len(self._deferred) >= MOST:
                raise QueueError(
                    f"{MOST:,} jobs wait for the end of this program, so that the connection {connection!r} takes no "
                    f"more. Put `with deferring():` around each request or turn at whose end they are to run."
                )
            return self._is_watched() and self._deferred.add(job)

    def end(self) -> None:
        """Run what waits; what does not come to its end in time is recorded as failed, and ends the process."""
        self._begins.set()
        with bounded(EXIT + LAST + RECORD):
            self._deferred.end(has_failed=False, until=time.monotonic() + EXIT)
            self._is_done.set()

    def _is_watched(self) -> bool:
        if self._is_ready:
            return True
        if not threading.main_thread().is_alive():  # exit hooks run, and one that is registered now does not
            return False
        watching = threading.Thread(target=self._watch, name="lamplighter-at-exit", daemon=True)
        try:
            watching.start()  # now: a program that ends can't start threads
        except RuntimeError:
            return False
        atexit.register(self.end)
        self._is_ready = True
        return True

    def _watch(self) -> None:
        self._begins.wait()
        if self._is_done.wait(EXIT):
            return
        self._deferred.break_off(is_repeated=False)
        if self._is_done.wait(LAST):
            return
        self._deferred.break_off(is_repeated=False, with_running=True)
        log.error("a deferred job has not ended in time; the program ends")
        flush_output()
        with suppress(OSError, ValueError, AttributeError):
            faulthandler.dump_traceback(sys.__stderr__ or 2)
        os._exit(1)

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        self._deferred = Deferred()  # the parent runs what was there
        self._begins, self._is_done = threading.Event(), threading.Event()
        self._is_ready = False
