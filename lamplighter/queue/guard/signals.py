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

log = logging.getLogger(__name__)

QUIT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
ENOUGH = 4096  # bytes, one a signal


@contextmanager
def handled(control: Control) -> Iterator[Callable[[], None]]:
    """TERM, INT and QUIT stop after the job in hand, and at once the second time; USR2 pauses, CONT resumes.

    Python runs a handler when the main thread comes back to Python, and C code may take its time. The interpreter
    writes each signal into a socket at once: what this gives looks there, and is for another thread to call. It also
    looks whether a job has left other handlers behind: between two jobs the loop's thread sets its own again.
    """
    handler_saw: list[int] = []
    socket_saw: list[int] = []

    def obey(seen: list[int], number: int) -> None:
        # Both see the same signals, so they are not added up.
        seen.append(number)
        if len(seen) > 1:
            os._exit(128 + number)
        control.ask_to_stop(StopReason.INTERRUPTED)

    def quit_(number: int, frame: FrameType | None) -> None:
        obey(handler_saw, number)

    def pause(number: int, frame: FrameType | None) -> None:
        control.pause()

    def resume(number: int, frame: FrameType | None) -> None:
        control.resume()

    def look() -> None:
        with suppress(OSError):  # there is none, or the worker has left
            for number in reader.recv(ENOUGH):
                if number in QUIT:
                    obey(socket_saw, number)
        if left_behind():
            control.do_between_jobs(set_again)

    def left_behind() -> list[signal.Signals]:
        return [number for number, handler in handlers.items() if signal.getsignal(number) is not handler]

    def set_again() -> None:
        control.between_jobs = None
        numbers = left_behind()
        if not numbers:
            return  # that was a job's own affair, as long as it ran
        for number in numbers:
            signal.signal(number, handlers[number])
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        names = " ".join(number.name for number in numbers)
        log.warning("a job has left other handlers of signals; the worker's are set again", extra={"signals": names})

    handlers = {**dict.fromkeys(QUIT, quit_), signal.SIGUSR2: pause, signal.SIGCONT: resume}
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        handling = [True]
        leave_to_their_defaults(handlers, as_long_as=handling)
        try:
            yield look
        finally:
            handling.clear()
            control.between_jobs = None
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)


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
