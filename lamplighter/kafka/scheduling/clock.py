"""The time that marks of jobs are in: one owner writes when a job is due, and the next one reads it."""

import time
from typing import Protocol


class Clock(Protocol):
    """The brokers' time, as far as this process knows it, in seconds since 1970."""

    def now(self) -> float:
        """A time that they have reached: by it is looked whether something is due."""
        ...

    def latest(self) -> float:
        """A time that they have not passed: from it on a wait is told to others."""
        ...


class WallClock:
    """This host's own clock."""

    def now(self) -> float:
        """What it says."""
        return time.time()

    def latest(self) -> float:
        """What it says."""
        return time.time()
