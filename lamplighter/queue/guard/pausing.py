"""Paused queues: names in the cache, by Laravel's keys, so that a PHP fleet and we pause and go on together."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from lamplighter.cache.repository import Cache
from lamplighter.contracts import Events, WorkQueue
from lamplighter.errors import CacheError
from lamplighter.queue.events import WorkerQueuePaused, WorkerQueueResumed
from lamplighter.queue.guard.control import Control
from lamplighter.queue.weights import queue_of

log = logging.getLogger(__name__)

ALL = "illuminate:queues:paused"
EVERY = 1.0  # seconds between two looks
REMIND_EVERY = 60.0  # seconds between two words of a worker that has nothing but paused queues
FALSE_IN_PHP: tuple[object, ...] = (None, False, 0, 0.0, "", "0", [])


def key_of(connection: str, queue: str) -> str:
    """The key of one paused queue."""
    return f"illuminate:queue:paused:{connection}:{queue}"


class PauseSignals:
    """What is paused, in one cache. What a PHP program has put there for some time ends by itself.

    Args:
        names_of: all names of a connection; a queue that is paused under one of them is paused.
    """

    def __init__(
        self, cache: Cache, names_of: Callable[[str], Sequence[str]] = lambda connection: (connection,)
    ) -> None:
        self._cache = cache
        self._names_of = names_of

    def pause(self, connection: str, queue: str) -> None:
        """Have no worker take a job from this queue, until `resume`."""
        self._cache.forever(key_of(connection, queue), True)

    def resume(self, connection: str, queue: str) -> None:
        """Have workers take jobs from it again, unless all queues are paused."""
        self._cache.forget(key_of(connection, queue))

    def pause_all(self) -> None:
        """Have no worker take a job from any queue of any connection."""
        self._cache.forever(ALL, True)

    def resume_all(self) -> None:
        """Have workers take jobs again, but from the queues that are paused by their names."""
        self._cache.forget(ALL)

    def paused(self, connection: str, queues: Sequence[str]) -> frozenset[str]:
        """Those of the queues that are paused.

        Raises:
            CacheError: the cache can't be asked.
        """
        if self._has(ALL):
            return frozenset(queues)
        names = self._names_of(connection)
        return frozenset(queue for queue in queues if any(self._has(key_of(name, queue)) for name in names))

    def paused_by(self, connection: str, queue: str) -> list[str]:
        """The connection's names under which this queue is paused; whether all queues are is not looked at."""
        return [name for name in self._names_of(connection) if self._has(key_of(name, queue))]

    def is_all_paused(self) -> bool:
        """Whether all queues are paused together."""
        return self._has(ALL)

    def _has(self, key: str) -> bool:
        return self._cache.get(key) not in FALSE_IN_PHP


class PauseWatch(threading.Thread):
    """Looks beside the jobs which queues of a worker are paused. A cache that is away changes nothing.

    Args:
        names: the worker's queues, as `--queue` has them.
    """

    def __init__(
        self, signals: PauseSignals, queue: WorkQueue, control: Control, events: Events, names: Sequence[str]
    ) -> None:
        super().__init__(name="lamplighter-pauses", daemon=True)
        self._signals = signals
        self._queue = queue
        self._control = control
        self._events = events
        self._names = tuple(dict.fromkeys(map(queue_of, names)))
        self._is_out = False
        self._remind_at = 0.0
        self._ended = threading.Event()

    def run(self) -> None:
        """Once a second, until `end`."""
        while not self._ended.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Take over what is paused now, before the connection is opened too."""
        if "pause" in self._queue.lacks:
            return
        try:
            paused = self._signals.paused(self._queue.connection, self._names)
        except Exception as error:
            self._tell_outage(error)
        else:
            self._is_out = False
            if paused != self._control.paused_queues:
                self._take(paused)
        self._remind()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _take(self, paused: frozenset[str]) -> None:
        control, before = self._control, self._control.paused_queues
        # A worker that finds nothing to do must not take that for the end of its queues, at no moment of this.
        control.tell_paused(before | paused)
        self._queue.pause(paused)
        control.tell_paused(paused)
        self._remind_at = time.monotonic() + REMIND_EVERY
        for queue in sorted(paused - before):
            self._tell(queue, "queue paused; the worker takes no job of it", WorkerQueuePaused)
        for queue in sorted(before - paused):
            self._tell(queue, "queue resumed; the worker takes its jobs again", WorkerQueueResumed)

    def _tell(self, queue: str, words: str, event: Callable[[str, str], object]) -> None:
        log.info(words, extra={"connection": self._queue.connection, "queue": queue})
        try:
            self._events.dispatch(event(self._queue.connection, queue))
        except Exception:
            log.exception("a listener of paused queues raised")

    def _remind(self) -> None:
        """Say once a minute that nothing is worked: nobody else would see why."""
        if self._control.paused_queues.issuperset(self._names) and time.monotonic() >= self._remind_at:
            self._remind_at = time.monotonic() + REMIND_EVERY
            log.warning(
                "all queues of this worker are paused; `queue:resume` has them go on",
                extra={"connection": self._queue.connection, "queues": ",".join(self._names)},
            )

    def _tell_outage(self, error: Exception) -> None:
        if self._is_out:
            return
        self._is_out = True
        if isinstance(error, CacheError):
            log.warning("the cache can't be read; pauses are not seen until it is back", extra={"reason": str(error)})
        else:
            log.exception("pauses can't be looked for")
