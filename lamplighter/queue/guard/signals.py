"""What a worker does on signals: the handlers only leave a word where the main thread waits."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from lamplighter.queue.guard.control import Control, StopReason
from lamplighter.support.early_signals import EarlyPause

log = logging.getLogger(__name__)

QUIT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
OF_SLOTS = (*QUIT, signal.SIGUSR1, signal.SIGUSR2)  # what reaches a process slot when it handles them, not before
ENOUGH = 4096  # bytes, one a signal

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled(control: Control) -> Iterator[Callable[[], None]]:
    """TERM, INT and QUIT stop after the job in hand, and at once the second time; USR2 pauses, CONT resumes.

    A pause that came while the worker was booting counts from here on.

    Python runs a handler when the main thread comes back to Python, and C code may take its time. The interpreter
    writes each signal into a socket at once: what this gives looks there, and is for another thread to call. It also
    looks whether a job has left other handlers behind: between two jobs the loop's thread sets its own again.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        handlers = Handlers(control, reader, writer)
        before_fd = handlers.wake_up()
        before = {number: signal.signal(number, handler) for number, handler in handlers.own.items()}
        handling = [True]
        leave_to_their_defaults(handlers.own, as_long_as=handling)
        early = before[signal.SIGUSR2]
        if isinstance(early, EarlyPause) and early.is_paused:
            control.pause()
        try:
            yield handlers.look
        finally:
            handling.clear()
            control.between_jobs = None
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)


class Handlers:
    """The worker's own handlers, and the socket into which the interpreter writes each signal.

    Attributes:
        own: the handlers, by the number of their signal.
    """

    def __init__(self, control: Control, reader: socket.socket, writer: socket.socket) -> None:
        self._control = control
        self._reader = reader
        self._writer = writer
        self._handler_saw: list[int] = []
        self._socket_saw: list[int] = []
        self.own: dict[signal.Signals, Handler] = {
            **dict.fromkeys(QUIT, self._quit),
            signal.SIGUSR2: lambda number, frame: control.pause(),
            signal.SIGCONT: lambda number, frame: control.resume(),
        }

    def wake_up(self) -> int:
        """Have the interpreter write each signal into the socket; where it wrote them before."""
        return signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def look(self) -> None:
        """Obey what stands in the socket, and see whether the handlers are still ours; for another thread to call."""
        with suppress(OSError):  # there is none, or the worker has left
            for number in self._reader.recv(ENOUGH):
                if number in QUIT:
                    self._obey(self._socket_saw, number)
        if self._left_behind():
            self._control.do_between_jobs(self._set_again)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        self._obey(self._handler_saw, number)

    def _obey(self, seen: list[int], number: int) -> None:
        # Both see the same signals, so they are not added up.
        seen.append(number)
        if len(seen) > 1:
            os._exit(128 + number)
        self._control.ask_to_stop(StopReason.INTERRUPTED)

    def _left_behind(self) -> list[signal.Signals]:
        return [number for number, handler in self.own.items() if signal.getsignal(number) is not handler]

    def _set_again(self) -> None:
        self._control.between_jobs = None
        numbers = self._left_behind()
        if not numbers:
            return  # that was a job's own affair, as long as it ran
        for number in numbers:
            signal.signal(number, self.own[number])
        self.wake_up()
        names = " ".join(number.name for number in numbers)
        log.warning("a job has left other handlers of signals; the worker's are set again", extra={"signals": names})


def leave_to_their_defaults(numbers: Iterable[int], *, as_long_as: Sequence[object] = (True,)) -> None:
    """Give the children that jobs fork the defaults: their signals are not the worker's, whose socket they share.

    A signal that reaches a child before that waits for it. Without this it would be told to the worker, which would
    stop, and the child would go on.
    """
    numbers = set(numbers)
    masks: dict[int, set[int]] = {}  # by the thread that forks

    def block() -> None:
        if as_long_as:
            masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def unblock() -> None:
        mask = masks.pop(threading.get_ident(), None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def reset() -> None:
        if as_long_as:
            signal.set_wakeup_fd(-1)
            for number in numbers:
                signal.signal(number, signal.SIG_DFL)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset)
