"""The end of a worker's process: one deadline from the first word to stop, whatever hangs."""

import _thread
import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from lamplighter.errors import LamplighterError
from lamplighter.queue.failed.trace import one_line
from lamplighter.queue.guard.control import NEVER, Control, StopReason
from lamplighter.queue.guard.timers import arm, disarm, spawn
from lamplighter.support.streams import flush_output

log = logging.getLogger(__name__)

FIRST_LOOK = 1.0  # seconds in which a job that was just popped comes into the worker's hand
LOOK = 0.25  # seconds between two looks whether a job without a timeout has ended
WORD = 1.0  # seconds for saying why the process ends
HOOKS = 5.0  # seconds for exit hooks
DEAD_MAN = 5.0  # seconds after a deadline until a process whose threads can't run is ended


class Deadline(threading.Thread):
    """Ends the process when a worker that was told to stop has not ended it: the one place which decides that.

    From the first word to stop the jobs in hand have the time that they were given, and `shutdown` seconds follow.
    Nothing moves that moment but a grace period, to an earlier one. Only for a job without a timeout there is none
    before it has ended.

    Args:
        busy_until: when the jobs in hand are to have ended at the latest; now, where there are none.
        tell: hears the deadline once it is known.
    """

    def __init__(
        self,
        control: Control,
        busy_until: Callable[[float], float],
        shutdown: float,
        *,
        tell: Callable[[float], object] = lambda deadline: None,
    ) -> None:
        super().__init__(name="lamplighter-deadline", daemon=True)
        self._control = control
        self._busy_until = busy_until
        self._shutdown = shutdown
        self._tell = tell
        self._jobs_until = NEVER
        self._is_off = threading.Event()

    def run(self) -> None:
        """Wait for the first word to stop, then for the deadline."""
        self._control.stops.get()
        self._is_off.wait(min(FIRST_LOOK, self._shutdown / 4))
        told = NEVER
        while (left := self.left()) > 0:
            if self._is_off.wait(min(left, LOOK)):
                return
            if self.at() != told:
                told = self.at()
                self._tell(told)
        within(WORD, lambda: log.error("the worker has not ended by its deadline; what is in hand runs again"))
        if not self._is_off.is_set():
            os._exit(StopReason.STALLED.exit_code if self._stands_still else 1)

    def at(self) -> float:
        """The moment by which the process ends, on the monotonic clock."""
        control = self._control
        if control.stopped_at == NEVER:
            return NEVER
        if self._stands_still:
            return control.stopped_at + self._shutdown
        if self._jobs_until == NEVER:
            self._jobs_until = self._busy_until(time.monotonic())
        return max(control.stopped_at, min(self._jobs_until, control.limit)) + self._shutdown

    def settle_by(self) -> float:
        """When the worker lets go of all that is in its hand, so that there is time for committing and leaving."""
        return min(self._control.limit, self.at() - self._shutdown / 2)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.at() - time.monotonic()

    @property
    def _stands_still(self) -> bool:
        """Whether nobody waits for jobs any more: what is in hand does not go on."""
        return StopReason.STALLED in self._control.asked

    def take_over(self) -> float:
        """Seconds until the deadline, for whoever ends the process from here on: by then, with a status of its own."""
        self._is_off.set()
        return self.left()

    def call_off(self) -> None:
        """The worker has ended, and its process goes its own way."""
        self._is_off.set()
        self._control.stops.put(None)


def within(seconds: float, action: Callable[[], object]) -> bool:
    """Run an action in a thread of its own; whether it came to its end in time, without an error.

    Without a thread it is not run: nothing would bound it.
    """
    done: list[bool] = []
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            action()
            done.append(True)
        except LamplighterError as error:  # it says all that an operator needs
            log.error("something failed at the end of the worker's process", extra={"reason": one_line(error)})
        except BaseException:
            log.exception("something failed at the end of the worker's process")
        finally:
            ended.release()

    if spawn(run):
        ended.acquire(timeout=max(0.0, seconds))
    return bool(done)


def exit_after(seconds: float, status: int) -> bool:
    """End the process then without another word: whoever writes one may hang as everybody else.

    False where nothing can end it; a C timer that ends it with 1 comes before that.
    """

    def end() -> None:
        time.sleep(max(0.0, seconds))
        os._exit(status)

    return spawn(end) or arm(seconds)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """End the process with 1 when the body takes longer; by a C timer, which needs no thread of ours to run."""
    arm(seconds)
    try:
        yield
    finally:
        disarm()


def leave(status: int, *, seconds: float = HOOKS) -> NoReturn:
    """End a process whose work is done: exit hooks and what is still to be written have so many seconds.

    The interpreter's own end waits for threads, executors and children, and those that a job has left may go on for
    ever.
    """
    seconds = max(0.1, min(HOOKS, seconds))
    if not exit_after(seconds, status):
        os._exit(status)  # an exit hook that hangs would keep the process for ever
    arm(seconds + DEAD_MAN)
    with suppress(BaseException):  # each hook tells of its own error
        atexit._run_exitfuncs()
    flush_output()
    os._exit(status)
