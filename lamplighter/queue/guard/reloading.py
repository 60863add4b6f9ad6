"""A worker for development: one child process, started anew when the application's files change."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from lamplighter.queue.guard import reloaded
from lamplighter.support.early_signals import PAUSES, EarlyPause, held_back

EVERY = 0.5  # seconds between two looks at the files
TURN = 0.1  # seconds between two looks at the worker, and for a signal
LONGEST_PAUSE = 30.0  # seconds until a worker that ends again and again is started again
WELL = 10.0  # seconds after which a worker that ends has run well
SKIPPED = frozenset({"__pycache__", "node_modules", "storage"})
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

Seen = dict[Path, tuple[int, int]]


def look_at_files(folder: Path) -> Seen:
    """When each file was changed that the application is made of: its modules, those of config/, and `.env`.

    Hidden folders, virtual environments and storage/ are left out.
    """
    found: Seen = {}
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not (name.startswith(".") or name in SKIPPED)]
        is_top = Path(place) == folder
        for name in files:
            if name.endswith(".py") or (is_top and (name == ".env" or name.startswith(".env."))):
                path = Path(place, name)
                with suppress(OSError):  # it went at this moment, or nobody may look at it
                    known = path.stat()
                    found[path] = known.st_mtime_ns, known.st_size
    return found


def changed(before: Seen, now: Seen) -> list[Path]:
    """The files that were changed, came or went."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


class Reloading:
    """Runs `artisan.py` with these words until a signal comes; says by `tell` what it does.

    TERM, INT and QUIT are passed on once, and the worker ends in order, after its job; a second one ends it at once.
    USR2 and CONT are passed on, and a worker that starts anew begins paused where the last one was.
    The worker is in a group of its own, so that a terminal's Ctrl-C does not reach it beside that.
    """

    def __init__(self, folder: Path, words: Sequence[str], tell: Callable[[str], object]) -> None:
        self._folder = folder
        self._words = list(words)
        self._tell = tell
        self._signals = 0
        self._is_paused = self._was_paused = False
        self._reader, self._writer = os.pipe()

    def run(self) -> int:
        """Until a signal comes; the exit code of the last worker."""
        pause = 1.0
        with self._handled():
            try:
                while True:
                    began = time.monotonic()
                    status, files = self._run_one()
                    if self._signals:
                        return status if status >= 0 else 128 - status
                    if files:
                        pause = 1.0
                        continue
                    pause = 1.0 if time.monotonic() - began > WELL else min(LONGEST_PAUSE, pause * 2)
                    self._tell(f"The worker has ended with {status}. It starts again in {pause:g} s, or at a change.")
                    self._wait_for_a_change(pause)
                    if self._signals:
                        return 0
            finally:
                os.close(self._reader)
                os.close(self._writer)

    def _run_one(self) -> tuple[int, list[Path]]:
        """Run a worker to its end; its exit code, and the files that were its end."""
        before = look_at_files(self._folder)
        worker = self._start()
        self._was_paused = False
        try:
            look_at = time.monotonic() + EVERY
            files: list[Path] = []
            while worker.poll() is None:
                if self._signals:
                    self._end(worker)
                    break
                self._pass_pause_on(worker)
                time.sleep(TURN)
                if time.monotonic() >= look_at:
                    files = changed(before, look_at_files(self._folder))
                    if files:
                        self._tell(f"{self._named(files)} changed. The worker starts anew after its job.")
                        self._await_rest()
                        self._end(worker)
                        break
                    look_at = time.monotonic() + EVERY
            return worker.wait(), files
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        # -B: what was compiled within the second of the next change would be taken for the new text of the same length.
        program = [sys.executable, "-P", "-B", reloaded.__file__, str(self._reader), str(self._folder / "artisan.py")]
        with held_back(PAUSES):
            return subprocess.Popen(
                [*program, *self._words], stdin=subprocess.DEVNULL, pass_fds=(self._reader,), process_group=0
            )

    def _pass_pause_on(self, worker: "subprocess.Popen[bytes]") -> None:
        if self._is_paused != self._was_paused:
            self._was_paused = self._is_paused
            worker.send_signal(signal.SIGUSR2 if self._was_paused else signal.SIGCONT)

    def _end(self, worker: "subprocess.Popen[bytes]") -> None:
        """In order; at once where that has been asked for twice."""
        worker.terminate()
        while worker.poll() is None:
            if self._signals > 1:
                worker.kill()
            time.sleep(TURN)

    def _await_rest(self) -> None:
        """Wait until nothing changes any more: an editor, or git, may be at it."""
        before = look_at_files(self._folder)
        while not self._signals:
            time.sleep(EVERY / 2)
            now = look_at_files(self._folder)
            if now == before:
                return
            before = now

    def _wait_for_a_change(self, seconds: float) -> None:
        before = look_at_files(self._folder)
        until = time.monotonic() + seconds
        while not self._signals and time.monotonic() < until:
            time.sleep(min(EVERY, seconds))
            if look_at_files(self._folder) != before:
                self._await_rest()
                return

    def _named(self, files: Sequence[Path]) -> str:
        first = str(files[0].relative_to(self._folder))
        return f"{first} was" if len(files) == 1 else f"{first} and {len(files) - 1} more were"

    @contextmanager
    def _handled(self) -> Iterator[None]:
        def count(number: int, frame: FrameType | None) -> None:
            self._signals += 1

        def pause(number: int, frame: FrameType | None) -> None:
            self._is_paused = number == signal.SIGUSR2

        before = {number: signal.signal(number, count) for number in SIGNALS}
        before |= {number: signal.signal(number, pause) for number in PAUSES}
        early = before[signal.SIGUSR2]
        self._is_paused |= isinstance(early, EarlyPause) and early.is_paused
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
