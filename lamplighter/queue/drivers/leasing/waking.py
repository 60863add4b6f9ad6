"""Wakes an idle worker as soon as a job has come."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.polling import TURN
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.worker.outages import Outages

log = logging.getLogger(__name__)

REST = 1.0  # seconds after the store could not be asked


class Waking(threading.Thread):
    """Waits for news of the store, only while the worker is idle.

    Args:
        wait: waits for news of some queues, for a while; whether there is any.
        names: the queues of which it takes jobs now.
    """

    def __init__(
        self,
        wait: Callable[[Sequence[str]], bool],
        names: Callable[[], Sequence[str]],
        tell: Callable[[], object],
    ) -> None:
        super().__init__(name="lamplighter-news", daemon=True)
        self._wait = wait
        self._names = names
        self._tell = tell
        self._is_idle = threading.Event()
        self._ended = threading.Event()
        self._outages = Outages()

    def begin(self) -> None:
        """The worker has nothing to do."""
        if not self._is_idle.is_set():
            self._is_idle.set()

    def pause(self) -> None:
        """The worker has something to do, and looks by itself."""
        if self._is_idle.is_set():
            self._is_idle.clear()

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.is_set():
            self._is_idle.wait()
            if self._ended.is_set():
                return
            began = time.monotonic()
            try:
                names = self._names()
                has_news = bool(names) and self._wait(names)
            except QueueError:
                self._ended.wait(REST)  # the thread that pops meets it, too, and says so
                continue
            except Exception as error:  # an end of this thread would be noticed by nobody
                if not self._ended.is_set() and self._outages.is_new(one_line(error)):
                    log.exception("news of jobs can't be waited for; the worker looks for them now and then")
                self._ended.wait(REST)
                continue
            if has_news and self._is_idle.is_set():
                self._is_idle.clear()
                self._tell()
            elif time.monotonic() - began < TURN / 2:
                self._ended.wait(TURN / 2)  # a store that can't wait must not be asked in a circle

    def end(self) -> None:
        """Wait for nothing more."""
        self._ended.set()
        self._is_idle.set()

    def await_end(self, *, timeout: float) -> None:
        """Wait until the store is asked no more."""
        if self.is_alive() and threading.current_thread() is not self:
            self.join(timeout)
