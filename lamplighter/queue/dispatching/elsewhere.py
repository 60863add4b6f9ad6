"""Jobs that another process of this host runs: whoever pushes them may want to know of their ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Waits for the end of a job; gives an error where it has failed and could not be recorded.
Wait = Callable[[], Exception | None]

_begun: ContextVar[list[Wait] | None] = ContextVar("lamplighter_elsewhere", default=None)


@contextmanager
def told_of_processes() -> Iterator[list[Wait]]:
    """Within it each job that a push gives to a process of its own is added to this list."""
    begun: list[Wait] = []
    token = _begun.set(begun)
    try:
        yield begun
    finally:
        _begun.reset(token)


def tell_of_process(wait: Wait) -> None:
    """A job runs in a process of its own from now on."""
    begun = _begun.get()
    if begun is not None:
        begun.append(wait)
