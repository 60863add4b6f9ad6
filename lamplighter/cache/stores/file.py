"""Values in files, laid out as Laravel's: what a PHP application on this host has written is read, and the reverse."""

import hashlib
import math
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lamplighter.cache.locks import StoreLock
from lamplighter.cache.serialization import as_number, dump, load
from lamplighter.contracts import Reach
from lamplighter.support.filelock import FileLock

FOREVER = 9_999_999_999  # Laravel's ten digits for a value without an end
DIGITS = 10
NAME = re.compile(r"[0-9a-f]{40}")


class FileStore:
    """Reaches every process of this host. Writes are atomic; what can't be read is a miss."""

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
        with self._lock.held():
            return self.get(key) is None and self.put(key, value, ttl)

    def increment(self, key: str, by: int = 1) -> int:
        """Add to a number, which begins at 0 and keeps its time to live; what it is then."""
        with self._lock.held():
            value, until = self._read(key)
            number = as_number(key, value) + by
            self._write(key, number, until)
            return number

    def forget(self, key: str) -> bool:
        """Let go of a value; whether there was one."""
        try:
            self._path(key).unlink()
        except OSError:
            return False
        return True

    def flush(self) -> None:
        """Let go of all values; what else lies in the folder stays, in case the settings name a wrong one."""
        with self._lock.held():
            # Folders stay: another process may be about to write into one.
            for path in self._folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
                if NAME.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def lock(self, name: str, seconds: float, owner: str | None = None) -> StoreLock:
        """A lock of this name; it ends by itself after `seconds`, 0 is never."""
        key = f"lock:{name}"
        return StoreLock(
            name,
            owner=owner,
            acquire=lambda who: self.add(key, who, seconds or None),
            release=lambda who: self._release(key, who),
        )

    def _release(self, key: str, who: str) -> bool:
        with self._lock.held():
            return self.get(key) == who and self.forget(key)

    def _read(self, key: str) -> tuple[Any, int]:
        try:
            # Bytes: reading as text would turn a carriage return into something else.
            text = self._path(key).read_bytes().decode()
            until = int(text[:DIGITS])
        except (OSError, ValueError):
            return None, FOREVER
        return (None, FOREVER) if time.time() >= until else (load(text[DIGITS:]), until)

    def _write(self, key: str, value: object, until: int) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(f"{until:0{DIGITS}d}{dump(key, value)}".encode())
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(draft).unlink()
            raise

    def _path(self, key: str) -> Path:
        name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        return self._folder / name[:2] / name[2:4] / name
