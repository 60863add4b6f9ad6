"""A selector for event loops that waits as long as it is told."""

import select
import selectors
import sys
from typing import Any

SHORT = 0.05  # seconds; in a longer wait a millisecond does not matter
FD_SETSIZE = 1024  # files that select() knows

if sys.platform == "linux":

    class PreciseEpoll(selectors.EpollSelector):
        """Epoll counts in milliseconds and rounds up: a job that waits for one would wait for two."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """What is ready. An epoll can be waited for like a file, and select() counts in microseconds."""
            if timeout is not None and 0 < timeout < SHORT and self.fileno() < FD_SETSIZE:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)


def precise_selector() -> Any:
    """The best selector that the platform has."""
    return PreciseEpoll() if sys.platform == "linux" else selectors.DefaultSelector()
