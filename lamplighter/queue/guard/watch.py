"""The thread beside the jobs: deadlines, memory, and whatever else has to be looked at by the clock."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from lamplighter.queue.guard.control import NEVER
from lamplighter.queue.guard.deadlines import Hand, T

log = logging.getLogger(__name__)

TICK = 0.1  # seconds between two looks at the deadlines


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do every `every` seconds; it must be quick."""

    every: float
    run: Callable[[], object]


class Watch(threading.Thread, Generic[T]):
    """Looks at the deadlines ten times a second, and does the chores.

    Args:
        limit: a deadline for all that is in hand.
    """

    def __init__(
        self,
        hand: Hand[T],
        on_overdue: Callable[[T], object],
        chores: Sequence[Chore] = (),
        *,
        limit: Callable[[], float] = lambda: NEVER,
    ) -> None:
        super().__init__(name="lamplighter-watch", daemon=True)
        self._hand = hand
        self._on_overdue = on_overdue
        self._limit = limit
        self._chores = [(chore, 0.0) for chore in chores]
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(TICK):
            self._hand.go_on()
            overdue = self._hand.take_overdue(time.monotonic(), limit=self._limit())
            if overdue is not None:
                self._on_overdue(overdue)
            self._hand.set_timer()
            self._do_chores()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._hand.set_timer()

    def _do_chores(self) -> None:
        now = time.monotonic()
        for index, (chore, due) in enumerate(self._chores):
            if now < due:
                continue
            self._chores[index] = (chore, now + chore.every)
            try:
                chore.run()
            except Exception:
                # The deadlines must be kept whatever a chore meets: a full disk under the heartbeat, say.
                log.exception("a chore of the watching thread failed")
