"""What the processes of one project push to the embedded broker at this moment, as far as it is large."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.lock import locked
from lamplighter.support.files import read_file, replacing

LARGE = 65_536  # bytes of a message, from which on all processes know of it
ARRIVAL = 1.0  # seconds in which what was given a place arrives, or has failed
LOCK_WAIT = 10.0  # seconds; a process that was stopped may hold the lock for ever


class LargePushes:
    """Large messages that were given a place and are not seen there yet, whoever pushes them.

    A few of them make a partition full, so that no process may leave those of the others out of account.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "embedded-pushes.json"
        self._lock = folder / "embedded-pushes.lock"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process find room meanwhile.

        Raises:
            BrokerUnavailable: another process does so for `LOCK_WAIT` seconds, or the folder can't be written.
        """
        folder = self._lock.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(self._lock, wait=LOCK_WAIT):
                yield
        except OSError as error:
            raise BrokerUnavailable(f"The embedded broker can't be used in {folder}: {error}") from error

    def under_way(self, place: str, seen: Iterable[tuple[int, int]]) -> int:
        """How many bytes are still to arrive at a place, where these offsets and sizes are seen."""
        told = self._told().get(place)
        if told is None:
            return 0
        end, size, _ = told
        return max(0, size - sum(one for offset, one in seen if offset >= end and one > LARGE))

    def add(self, place: str, *, end: int, size: int) -> None:
        """From now on so many bytes are to arrive at a place, behind `end`. Only for who is alone."""
        draft = self._file.with_suffix(".draft")
        with replacing(self._file, draft):
            draft.write_text(json.dumps({**self._told(), place: (end, size, time.monotonic())}), encoding="utf-8")

    def _told(self) -> dict[str, tuple[int, int, float]]:
        # All processes share this clock, and nobody sets it; a later time is from before a restart of the host.
        now = time.monotonic()
        try:
            told = json.loads(read_file(self._file))
            return {
                place: (int(end), int(size), at) for place, (end, size, at) in told.items() if 0 <= now - at < ARRIVAL
            }
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}  # nobody has, or the disk was full
