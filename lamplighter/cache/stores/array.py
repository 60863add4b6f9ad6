"""Values in this process' memory, for tests and single programs."""

import threading
import time
from typing import Any

from lamplighter.cache.keys import LOCK
from lamplighter.cache.locks import StoreLock
from lamplighter.cache.serialization import as_number, dump, load
from lamplighter.contracts import Reach
from lamplighter.support.forking import watch


class ArrayStore:
    """Keeps values until the process ends; as text, so that none comes back other than from the other stores."""

    reach: Reach = "process"

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, float]] = {}
        self._mutex = threading.RLock()
        watch(self, in_child=ArrayStore._begin_as_child, locks=lambda store: (store._mutex,))

    def get(self, key: str) -> Any:
        """The value; None is a miss."""
        text, until = self._values.get(key, ("", 0.0))
        return load(text) if time.time() < until else None

    def put(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value for `ttl` seconds, or for ever."""
        self._values[key] = dump(key, value), float("inf") if ttl is None else time.time() + ttl
        return True

    def add(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value if there is none; whether it was kept."""
        with self._mutex:
            return self.get(key) is None and self.put(key, value, ttl)

    def increment(self, key: str, by: int = 1) -> int:
        """Add to a number, which begins at 0 and keeps its time to live; what it is then."""
        with self._mutex:
            value = as_number(key, self.get(key)) + by
            _, until = self._values.get(key, ("", 0.0))
            self._values[key] = dump(key, value), until if until > time.time() else float("inf")
            return value

    def forget(self, key: str) -> bool:
        """Let go of a value; whether there was one."""
        _, until = self._values.pop(key, ("", 0.0))
        return time.time() < until

    def flush(self) -> None:
        """Let go of all values."""
        self._values.clear()

    def lock(self, name: str, seconds: float, owner: str | None = None) -> StoreLock:
        """A lock of this name; it ends by itself after `seconds`, 0 is never."""
        key = LOCK + name
        return StoreLock(
            name,
            owner=owner,
            acquire=lambda who: self.add(key, who, seconds or None),
            release=lambda who: self._release(key, who),
        )

    def _begin_as_child(self) -> None:
        # Nobody in this process would ever give back what the parent's threads have taken.
        self._mutex = threading.RLock()
        self._values = {key: value for key, value in self._values.items() if not key.startswith(LOCK)}

    def _release(self, key: str, who: str) -> bool:
        with self._mutex:
            return self.get(key) == who and self.forget(key)
