"""How many background jobs run on this host beside each other: one locked file for each."""

import os
import time
from pathlib import Path

from lamplighter.errors import QueueError, Unavailable
from lamplighter.support.filelock import try_lock
from lamplighter.support.forking import watch

LOOK = 0.05  # seconds between two looks for one that is free


class Slots:
    """Files in a folder. A process that has one open, locked, has its place; however it ends, the place is free."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._open: set[int] = set()
        watch(self, in_child=Slots._begin_as_child)

    def take(self, wait: float) -> int:
        """The open file of a place; `let_go` closes it, and who has inherited it keeps the place.

        Raises:
            Unavailable: all are taken, after `wait` seconds still.
            QueueError: the folder can't be used.
        """
        until = time.monotonic() + wait
        while True:
            for number in range(self._count):
                file = self._try(number)
                if file is not None:
                    return file
            if time.monotonic() >= until:
                raise Unavailable(
                    f"{self._count} background jobs run on this host, as many as may. Wait for one of them, or give "
                    f"the connection more `processes` in config/queue.py."
                )
            time.sleep(LOOK)

    def let_go(self, file: int) -> None:
        """Close it here."""
        if file in self._open:
            self._open.remove(file)
            os.close(file)

    def _try(self, number: int) -> int | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise QueueError(
                f"The folder {self._folder}, where background jobs have their places, can't be used: {error.strerror}."
            ) from error
        if try_lock(file):
            self._open.add(file)
            return file
        os.close(file)
        return None

    def _begin_as_child(self) -> None:
        # A child of a fork, which may live for long, must not keep the places of processes that it has not started.
        for file in self._open:
            os.close(file)
        self._open = set()
