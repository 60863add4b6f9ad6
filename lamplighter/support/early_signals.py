"""The signals USR2 and CONT, from a program's first line until its worker handles them."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

PAUSES = (signal.SIGUSR2, signal.SIGCONT)
# The commands that these may reach; elsewhere USR2 does what it does to any program: it ends it.
COMMANDS = frozenset({"queue:work", "queue:listen", "queue:background"})


class EarlyPause:
    """A handler that remembers whether the worker is to begin paused."""

    def __init__(self) -> None:
        self.is_paused = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.is_paused = number == signal.SIGUSR2


def keep_pauses(argv: Sequence[str]) -> None:
    """Let USR2 and CONT wait for the worker that this command is to be, if it is; called twice, it does nothing more.

    Only the main thread may call it.
    """
    if COMMANDS.isdisjoint(argv) or isinstance(signal.getsignal(signal.SIGUSR2), EarlyPause):
        return
    early = EarlyPause()
    for number in PAUSES:
        signal.signal(number, early)
    let_through(PAUSES)


@contextmanager
def held_back(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Have a process that is started meanwhile get these signals when it lets them through, and not before.

    So none can end it before it handles them, not even while its interpreter starts.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through(numbers: Iterable[signal.Signals]) -> None:
    """Get the signals that whoever started this process has held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
