"""Times that jobs leave in shared memory, so that neither a log nor a counter stands in the way."""

import mmap
import os
import threading
import time
from pathlib import Path

SLOTS = 4096
BUCKET = 0.00005  # seconds that one bucket of latencies covers; all of them 0.2 s
FIRST, LAST, COUNT, ASSIGNED, START = 0, 1, 2, 3, 4


class Stamps:
    """Doubles in a file: the first start, the last, how many, when partitions came, then each numbered job's start.

    The clock is CLOCK_MONOTONIC, the same for every process of the machine.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            # Processes that run jobs beside each other would count over each other in one file.
            path = Path(os.environ["STAMPS"] + (f".{os.getpid()}" if os.environ.get("STAMPS_EACH") else ""))
        size = (START + SLOTS) * 8
        if not path.exists():
            path.write_bytes(bytes(size))
        self._lock = threading.Lock()
        with path.open("r+b") as file:
            self._view = memoryview(mmap.mmap(file.fileno(), size)).cast("d")

    def stamp(self) -> None:
        """A job starts."""
        view = self._view
        now = view[LAST] = time.monotonic()
        if not view[COUNT]:
            view[FIRST] = now
        view[COUNT] += 1

    def stamp_beside_others(self) -> None:
        """A job starts, and other threads may be stamping, too."""
        with self._lock:
            self.stamp()

    def stamp_number(self, number: int) -> None:
        """The job of this number starts."""
        self._view[START + number] = time.monotonic()

    def stamp_latency(self, sent: float) -> None:
        """A job starts that was sent at that time: it is counted by how long it took."""
        self.stamp()
        bucket = min(int((self._view[LAST] - sent) / BUCKET), SLOTS - 1)
        self._view[START + bucket] += 1

    def latency(self, part: float) -> float:
        """The seconds that `part` of the counted jobs took at most."""
        wanted, seen = part * self.get(COUNT), 0.0
        for bucket in range(SLOTS):
            seen += self.get(START + bucket)
            if seen >= wanted:
                return (bucket + 1) * BUCKET
        return SLOTS * BUCKET

    def stamp_assigned(self) -> None:
        """The group has given this process its partitions."""
        self._view[ASSIGNED] = time.monotonic()

    def clear(self) -> None:
        """Begin anew."""
        for index in range(START + SLOTS):
            self._view[index] = 0.0

    def get(self, index: int) -> float:
        """One of the values."""
        return float(self._view[index])

    def add(self, other: "Stamps") -> None:
        """Take what another process has stamped as well."""
        view = self._view
        if other.get(COUNT):
            view[FIRST] = min(view[FIRST] or other.get(FIRST), other.get(FIRST))
            view[LAST] = max(view[LAST], other.get(LAST))
            view[COUNT] += other.get(COUNT)

    def rate(self) -> float:
        """Jobs per second, from the first start to the last."""
        return (self.get(COUNT) - 1) / (self.get(LAST) - self.get(FIRST))
