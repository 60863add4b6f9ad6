"""Values and locks in Redis, under a prefix, as Laravel's, so that a PHP fleet and we see each other's."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lamplighter.cache.keys import LOCK
from lamplighter.cache.locks import StoreLock
from lamplighter.cache.serialization import dump_for_php, dump_json, load, load_json
from lamplighter.contracts import Reach
from lamplighter.errors import CacheError, CacheUnavailable, ConfigError
from lamplighter.support.clock import ceil_ms
from lamplighter.support.made_once import MadeOnce

RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
# For a lock beside the values. Where PHP keeps its locks there as well, the owner stands under the bare name: letters
# and digits that are no JSON, which a value is.
ACQUIRE_BESIDE = """
local php = redis.pcall('get', KEYS[2])
if type(php) == 'string' and string.match(php, '^[%w_-]+$') and not pcall(cjson.decode, php) then return false end
if ARGV[2] == '' then return redis.call('set', KEYS[1], ARGV[1], 'NX') end
return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
"""
SERIALIZED = re.compile(r"([ib]:-?\d+;|s:\d+:|N;|[aOC]:\d+:)")
BATCH = 500

Connect: TypeAlias = Callable[[], "redis.Redis"]


def connect(
    *, url: str | None, host: str, port: int, username: str | None, password: str | None, database: int, timeout: float
) -> "redis.Redis":
    """A client, which connects when it is first used; what a URL leaves out, the other settings say, as in Laravel.

    Raises:
        ValueError: the URL is no address of a Redis.
    """
    settings: dict[str, Any] = {
        "username": username or None,
        "password": password or None,
        "db": database,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # By itself the client tries four times, with pauses: a second would become fifteen, and an increment whose
        # answer was lost would count twice.
        "retry": Retry(NoBackoff(), 0),
    }
    return redis.Redis.from_url(url, **settings) if url else redis.Redis(host=host, port=port, **settings)


class Client:
    """A client that each process makes for itself."""

    def __init__(self, connect: Connect) -> None:
        # By itself a client connects anew in a child, but may wait 5 s for a lock of the parent's.
        self._made: MadeOnce[redis.Redis] = MadeOnce(connect)
        self._made.get()

    @property
    def redis(self) -> "redis.Redis":
        """The client of this process."""
        return self._made.get()

    @property
    def database(self) -> int:
        """The number of its database."""
        return int(self.redis.connection_pool.connection_kwargs.get("db") or 0)


class RedisStore:
    """Reaches every host that sees this Redis.

    Raises:
        CacheUnavailable: by every method, when Redis does not answer.
        CacheError: by every method, when it refuses.
    """

    reach: Reach = "shared"

    def __init__(
        self,
        connect: Callable[[], "redis.Redis"],
        prefix: str,
        connect_locks: Callable[[], "redis.Redis"] | None = None,
    ) -> None:
        """A store; `connect_locks` makes a client of the database of the locks, where that is another one.

        Either is called now, so that it may refuse, and once in each child that is forked.
        """
        self._values = Client(connect)
        self._locks = self._values if connect_locks is None else Client(connect_locks)
        # PHP's key of a lock is that of a value of the same name: both in one database would overwrite each other.
        self._is_lock_beside = self._locks.database == self._values.database
        self._prefix = prefix

    def get(self, key: str) -> Any:
        """The value; None is a miss."""
        with self._asking():
            value = self._values.redis.get(self._prefix + key)
        return None if value is None else _load(value)

    def put(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value for `ttl` seconds, or for ever."""
        with self._asking():
            return bool(self._values.redis.set(self._prefix + key, _dump(key, value), px=_milliseconds(ttl)))

    def add(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep a value if there is none; whether it was kept."""
        with self._asking():
            return bool(self._values.redis.set(self._prefix + key, _dump(key, value), px=_milliseconds(ttl), nx=True))

    def increment(self, key: str, by: int = 1) -> int:
        """Add to a number, which begins at 0 and keeps its time to live; what it is then."""
        with self._asking():
            return int(self._values.redis.incrby(self._prefix + key, by))

    def forget(self, key: str) -> bool:
        """Let go of a value; whether there was one."""
        with self._asking():
            return bool(self._values.redis.delete(self._prefix + key))

    def flush(self) -> None:
        """Let go of all values under the prefix; what others keep in the same database stays.

        Raises:
            ConfigError: there is no prefix, so that "all" would be everybody's.
        """
        if not self._prefix:
            raise ConfigError("config/cache.py has no prefix for Redis: clearing would delete what others keep there.")
        pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", self._prefix) + "*"
        with self._asking():
            for client in [self._values] if self._is_lock_beside else [self._values, self._locks]:
                _unlink(client.redis, pattern)

    def lock(self, name: str, seconds: float, owner: str | None = None) -> StoreLock:
        """A lock of this name; it ends by itself after `seconds`, 0 is never."""
        key = self._prefix + (LOCK if self._is_lock_beside else "") + name
        return StoreLock(
            name,
            owner=owner,
            acquire=lambda who: self._acquire(key, name, who, _milliseconds(seconds or None)),
            release=lambda who: self._release(key, who),
        )

    def _acquire(self, key: str, name: str, who: str, milliseconds: int | None) -> bool:
        with self._asking():
            if not self._is_lock_beside:
                return bool(self._locks.redis.set(key, who, px=milliseconds, nx=True))
            keys = [key, self._prefix + name]
            return bool(
                self._locks.redis.eval(
                    ACQUIRE_BESIDE, len(keys), *keys, who, "" if milliseconds is None else milliseconds
                )
            )

    def _release(self, key: str, who: str) -> bool:
        with self._asking():
            return bool(self._locks.redis.eval(RELEASE, 1, key, who))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise CacheUnavailable(f"The cache's Redis at {self._address()} does not answer: {error}") from error
        except redis.RedisError as error:
            raise CacheError(f"The cache's Redis at {self._address()} refuses: {error}") from error

    def _address(self) -> str:
        settings = self._values.redis.connection_pool.connection_kwargs
        return str(settings.get("path") or f"{settings.get('host')}:{settings.get('port')}")


def _unlink(client: "redis.Redis", pattern: str) -> None:
    keys: list[Any] = []
    for key in client.scan_iter(match=pattern, count=BATCH):
        keys.append(key)
        if len(keys) >= BATCH:
            client.unlink(*keys)
            keys.clear()
    if keys:
        client.unlink(*keys)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(1, ceil_ms(seconds))


def _dump(key: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:d}"
    return dump_for_php(value) or dump_json(key, value)


def _load(value: Any) -> Any:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if SERIALIZED.match(text):
        return load(text)
    return load_json(text)
