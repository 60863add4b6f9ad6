"""Values in files, laid out as Laravel's: what a PHP application on this host has written is read, and the reverse."""

import hashlib
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamplighter.cache.keys import LOCK
from lamplighter.cache.locks import StoreLock
from lamplighter.cache.serialization import as_number, dump, load
from lamplighter.contracts import Reach
from lamplighter.errors import CacheUnavailable
from lamplighter.support.filelock import FileLock
from lamplighter.support.files import read_file, reason_of_refusal, replacing

FOREVER = 9_999_999_999  # Laravel's ten digits for a value without an end
DIGITS = 10
NAME = re.compile(r"[0-9a-f]{40}")
LOCK_WAIT = 10.0  # seconds for the lock of the folder; a process that was stopped may hold it for ever


class FileStore:
    """Reaches every process of this host. Writes are atomic; a file that says nothing is a miss.

    Raises:
        CacheUnavailable: by every method, when the folder can't be read or written.
    """

    reach: Reach = "host"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / ".lock")

    def get(self, key: str) -> Any:
        """The value; None is a miss."""
        return self._read(key)[0]

    def put(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value for `ttl` seconds, or for ever."""
        # Laravel's files have whole seconds: up, or a lock would end before its time.
        self._write(key, value, FOREVER if ttl is None else min(FOREVER, math.ceil(time.time() + ttl)))
        return True

    def add(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value if there is none; whether it was kept."""
        with self._alone():
            return self.get(key) is None and self.put(key, value, ttl)

    def increment(self, key: str, by: int = 1) -> int:
        """Add to a number, which begins at 0 and keeps its time to live; what it is then."""
        with self._alone():
            value, until = self._read(key)
            number = as_number(key, value) + by
            self._write(key, number, until)
            return number

    def forget(self, key: str) -> bool:
        """Let go of a value; whether there was one."""
        was_there = self.get(key) is not None
        with self._using():
            self._path(key).unlink(missing_ok=True)
        return was_there

    def flush(self) -> None:
        """Let go of all values; what else lies in the folder stays, in case the settings name a wrong one."""
        with self._alone():
            # Folders stay: another process may be about to write into one.
            for path in self._folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
                if NAME.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def lock(self, name: str, seconds: float, owner: str | None = None) -> StoreLock:
        """A lock of this name; it ends by itself after `seconds`, 0 is never."""
        key = LOCK + name
        return StoreLock(
            name,
            owner=owner,
            acquire=lambda who: self.add(key, who, seconds or None),
            release=lambda who: self._release(key, who),
        )

    def _release(self, key: str, who: str) -> bool:
        with self._alone():
            return self.get(key) == who and self.forget(key)

    def _read(self, key: str) -> tuple[Any, int]:
        with self._using():
            try:
                # Bytes: reading as text would turn a carriage return into something else.
                data = read_file(self._path(key))
            except FileNotFoundError:
                return None, FOREVER
        try:
            text = data.decode()
            until = int(text[:DIGITS])
        except ValueError:
            return None, FOREVER
        return (None, FOREVER) if time.time() >= until else (load(text[DIGITS:]), until)

    def _write(self, key: str, value: object, until: int) -> None:
        text = f"{until:0{DIGITS}d}{dump(key, value)}".encode()
        path = self._path(key)
        with self._using():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=path.parent)
            with replacing(path, Path(draft)):
                with os.fdopen(handle, "wb") as file:
                    file.write(text)
                Path(draft).chmod(0o644)

    def _path(self, key: str) -> Path:
        name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        return self._folder / name[:2] / name[2:4] / name

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one process at a time reads and writes."""
        with self._using(), self._lock.held(wait=LOCK_WAIT):
            yield

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = reason_of_refusal(error, lock_wait=LOCK_WAIT)
            raise CacheUnavailable(f"The cache in {self._folder} can't be used: {reason}.") from error
