"""Values in Redis, under a prefix: integers as bare digits, so that a PHP fleet and we read each other's."""

import json
import re
from typing import Any

import redis

from lamplighter.cache.locks import StoreLock
from lamplighter.cache.serialization import load
from lamplighter.contracts import Reach
from lamplighter.errors import ConfigError

RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
SERIALIZED = re.compile(r"([ib]:-?\d+;|s:\d+:|N;|[aOC]:\d+:)")
BATCH = 500


class RedisStore:
    """Reaches every host that sees this Redis."""

    reach: Reach = "shared"

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def get(self, key: str) -> Any:
        """The value; None is a miss."""
        value = self._client.get(self._prefix + key)
        return None if value is None else _load(value)

    def put(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value for `ttl` seconds, or for ever."""
        return bool(self._client.set(self._prefix + key, _dump(value), px=_milliseconds(ttl)))

    def add(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value if there is none; whether it was kept."""
        return bool(self._client.set(self._prefix + key, _dump(value), px=_milliseconds(ttl), nx=True))

    def increment(self, key: str, by: int = 1) -> int:
        """Add to a number, which begins at 0 and keeps its time to live; what it is then."""
        return int(self._client.incrby(self._prefix + key, by))

    def forget(self, key: str) -> bool:
        """Let go of a value; whether there was one."""
        return bool(self._client.delete(self._prefix + key))

    def flush(self) -> None:
        """Let go of all values under the prefix; what others keep in the same database stays.

        Raises:
            ConfigError: there is no prefix, so that "all" would be everybody's.
        """
        if not self._prefix:
            raise ConfigError("config/cache.py has no prefix for Redis: clearing would delete what others keep there.")
        pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", self._prefix) + "*"
        keys: list[Any] = []
        for key in self._client.scan_iter(match=pattern, count=BATCH):
            keys.append(key)
            if len(keys) >= BATCH:
                self._client.unlink(*keys)
                keys.clear()
        if keys:
            self._client.unlink(*keys)

    def lock(self, name: str, seconds: float, owner: str | None = None) -> StoreLock:
        """A lock of this name; it ends by itself after `seconds`, 0 is never."""
        key = self._prefix + name
        return StoreLock(
            name,
            owner=owner,
            acquire=lambda who: bool(self._client.set(key, who, px=_milliseconds(seconds or None), nx=True)),
            release=lambda who: bool(self._client.eval(RELEASE, 1, key, who)),
        )


def _milliseconds(ttl: float | None) -> int | None:
    return None if ttl is None else max(1, round(ttl * 1000))


def _dump(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def _load(value: Any) -> Any:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if SERIALIZED.match(text):
        return load(text)
    try:
        return json.loads(text)
    except ValueError:
        return None
