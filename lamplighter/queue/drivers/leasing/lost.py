"""Starts of jobs that a server counts itself, and whose answers were lost."""

import time


class LostAnswers:
    """Starts that a server counts, and nobody was given: the connection broke before its answer was read.

    The server puts such a job back. It is one of the next that have been started before, unless another worker was
    faster; so the next ones are forgiven as many starts. At worst another job may start once more than it should.
    """

    def __init__(self) -> None:
        self._left = 0
        self._until = 0.0

    def expect(self, count: int, seconds: float) -> None:
        """Up to `count` reservations were under way; those jobs are back within `seconds`."""
        self._left += count
        self._until = time.monotonic() + seconds

    def take_back(self) -> int:
        """How many starts are not counted of a job that was started before: 1 or 0."""
        if not self._left or time.monotonic() > self._until:
            self._left = 0
            return 0
        self._left -= 1
        return 1
