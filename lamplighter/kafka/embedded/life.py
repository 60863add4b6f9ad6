"""Whether the embedded broker of a folder lives: locks that end with its process, and that no deleted file ends."""

import os
import time
from contextlib import suppress
from pathlib import Path

from lamplighter.kafka.embedded.lock import LOOK, is_held, is_open_at, let_go, try_open

PATIENCE = 0.5  # seconds; whoever asks whether a broker lives holds its locks for a moment


class Life:
    """The locks that a broker holds from its begin to its end.

    One is on the folder above its own (`storage`), which stays where everything in it is deleted, and which is moved
    with its lock. The other is on a file, for file systems that lock no folders (NFS).
    """

    def __init__(self, folder: Path) -> None:
        self._above = folder.parent
        self._file = folder / "embedded-life.lock"
        self._held: dict[Path, int] = {}

    def is_seen(self) -> bool:
        """Whether a broker holds one of the locks, this or another.

        Raises:
            OSError: nobody can tell, since the folder can't be looked at.
        """
        with suppress(OSError):  # no folder can be locked there
            if is_held(self._above):
                return True
        return is_held(self._file)

    def begin(self) -> bool:
        """Hold both, also where the file was deleted since; False where another broker holds one.

        Raises:
            OSError: the folder can't be used.
        """
        until = time.monotonic() + PATIENCE
        while not self._hold():
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK)
        return True

    def end(self) -> None:
        """Let go of what is held."""
        for descriptor in self._held.values():
            let_go(descriptor)
        self._held = {}

    def _hold(self) -> bool:
        return self._hold_one(self._above) and self._hold_one(self._file)

    def _hold_one(self, path: Path) -> bool:
        held = self._held.get(path)
        if held is not None and is_open_at(path, held):
            return True
        try:
            descriptor = try_open(path, os.O_RDONLY | os.O_DIRECTORY if path == self._above else os.O_RDWR | os.O_CREAT)
        except OSError:
            if path == self._above:
                return True  # the file alone has to do
            raise
        if descriptor is None:
            return False
        if held is not None:
            let_go(held)
        self._held[path] = descriptor
        return True
