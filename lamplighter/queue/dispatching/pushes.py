"""What a job has published, until its queue has acknowledged it."""

import threading
from collections.abc import Callable


class Pushes:
    """The pushes of one start of a job: it is settled when the last of them is acknowledged.

    Reports may come from any thread.

    Attributes:
        error: why one of them failed, the first such reason; None where none did.
    """

    __slots__ = ("_left", "_lock", "_then", "error")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._left = 0
        self._then: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def expect(self) -> None:
        """One more was sent."""
        with self._lock:
            self._left += 1

    def report(self, error: Exception | None) -> None:
        """One was acknowledged, or has failed."""
        with self._lock:
            self._left -= 1
            self.error = self.error or error
            then = self._then if self._left == 0 else None
        if then is not None:
            then()

    def when_reported(self, then: Callable[[], object]) -> bool:
        """Call `then` when none is missing any more; False, and no call, when none is missing now."""
        with self._lock:
            if self._left == 0:
                return False
            self._then = then
            return True
