"""A store, with what everybody wants of one."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from lamplighter.cache.keys import lock_name, lock_owner, value_key
from lamplighter.cache.locks import StoreLock
from lamplighter.contracts import Reach, Store
from lamplighter.errors import CacheError

T = TypeVar("T")


class Cache:
    """Values by key; None is a miss, and a time to live of 0 or less forgets.

    A value and a lock never share a key, whatever their names. A key that is no UTF-8 is refused with CacheError.
    What is kept for some seconds is there for so long at least: stores that count in larger units round up.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def reach(self) -> Reach:
        """Who sees what is put here: this process, this host, or everybody."""
        return self.store.reach

    def get(self, key: str, default: object = None) -> Any:
        """The value, or the default where there is none."""
        value = self.store.get(value_key(key))
        return default if value is None else value

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self.store.get(value_key(key)) is not None

    def put(self, key: str, value: object, ttl: float | None = None) -> bool:
        """Keep a value for `ttl` seconds, or for ever."""
        ttl = _finite(key, ttl)
        if ttl is not None and ttl <= 0:
            return self.forget(key)
        return self.store.put(value_key(key), value, ttl)

    def add(self, key: str, value: object, ttl: float | None = None) -> bool:
        """Keep a value if there is none; whether it was kept."""
        ttl = _finite(key, ttl)
        return (ttl is None or ttl > 0) and self.store.add(value_key(key), value, ttl)

    def forever(self, key: str, value: object) -> bool:
        """Keep a value."""
        return self.store.put(value_key(key), value, None)

    def remember(self, key: str, ttl: float | None, make: Callable[[], T]) -> T:
        """The value; where there is none, the one that `make` returns, which is kept."""
        found = self.store.get(value_key(key))
        if found is not None:
            return found  # type: ignore[no-any-return]
        value = make()
        self.put(key, value, ttl)
        return value

    def increment(self, key: str, by: int = 1) -> int:
        """Add to a number, which begins at 0; what it is then."""
        return self.store.increment(value_key(key), by)

    def forget(self, key: str) -> bool:
        """Let go of a value; whether there was one."""
        return self.store.forget(value_key(key))

    def flush(self) -> None:
        """Let go of all values of this application."""
        self.store.flush()

    def lock(self, name: str, seconds: float = 0, owner: str | None = None) -> StoreLock:
        """A lock of this name, which can be waited for; it ends by itself after `seconds`, 0 is never.

        Raises:
            CacheError: the seconds are negative, so that two would have it at once; or the name is no UTF-8.
        """
        name, owner = lock_name(name), None if owner is None else lock_owner(owner)
        seconds = _finite(name, seconds) or 0
        if seconds < 0:
            raise CacheError(f"The lock {name!r} can't end by itself after {seconds:g} s; 0 is never.")
        lock = self.store.lock(name, seconds, owner)
        if isinstance(lock, StoreLock):
            return lock
        return StoreLock(name, owner=lock.owner, acquire=lambda _: lock.acquire(), release=lambda _: lock.release())


def _finite(key: str, seconds: float | None) -> float | None:
    """Seconds that a store can count; None, which is for ever, for an infinity of them."""
    if seconds is not None and math.isnan(seconds):
        raise CacheError(f"The cache can't keep {key!r} for {seconds} seconds.")
    return None if seconds == math.inf else seconds
