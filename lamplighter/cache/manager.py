"""The configured stores, each made when it is first used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lamplighter.cache.repository import Cache
from lamplighter.contracts import Config, Store
from lamplighter.errors import ConfigError
from lamplighter.support.options import parse_options

FILE = "config/cache.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOptions:
    """A store without settings."""

    driver: Literal["array", "null"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """A store in files; the path is read from the base path."""

    driver: Literal["file"]
    path: str = "storage/framework/cache/data"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """A store in Redis; `prefix` stands before the cache's own. A URL wins over host, port and credentials."""

    driver: Literal["redis"]
    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 1
    prefix: str = ""
    timeout: float = 5.0


class CacheManager:
    """Stores by name."""

    def __init__(self, config: Config, path: Callable[[str], Path]) -> None:
        self._config = config
        self._path = path
        self._stores: dict[tuple[str, float | None], Cache] = {}

    def store(self, name: str | None = None, *, timeout: float | None = None) -> Cache:
        """A store by name, the default without one; with `timeout` (seconds), on a connection of its own.

        Raises:
            ConfigError: there is no such store, or its settings are wrong.
        """
        name = name or self._config.string("cache.default")
        found = self._stores.get((name, timeout))
        if found is None:
            found = self._stores[name, timeout] = Cache(self._make(name, timeout))
        return found

    def _make(self, name: str, timeout: float | None) -> Store:
        stores = self._config.mapping("cache.stores", {})
        options = stores.get(name)
        if not isinstance(options, dict):
            raise ConfigError(f"{FILE} has no store {name!r}; it has {', '.join(sorted(stores)) or 'none'}.")
        where = f"{FILE} (stores.{name})"
        driver = options.get("driver")
        if driver == "file":
            from lamplighter.cache.stores.file import FileStore

            return FileStore(self._path(parse_options(FileOptions, options, where=where).path))
        if driver == "redis":
            return self._redis(options, where, timeout)
        parse_options(PlainOptions, options, where=where)
        from lamplighter.cache.stores.array import ArrayStore
        from lamplighter.cache.stores.null import NullStore

        return ArrayStore() if driver == "array" else NullStore()

    def _redis(self, values: Mapping[str, Any], where: str, timeout: float | None) -> Store:
        try:
            import redis

            from lamplighter.cache.stores.redis import RedisStore
        except ImportError as error:
            raise ConfigError(f"{where} needs the package redis: pip install 'lamplighter[redis]'.") from error
        options = parse_options(RedisOptions, values, where=where)
        seconds = options.timeout if timeout is None else timeout
        limits: dict[str, Any] = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        if options.url:
            client = redis.Redis.from_url(options.url, **limits)
        else:
            client = redis.Redis(
                host=options.host,
                port=options.port,
                username=options.username or None,
                password=options.password or None,
                db=options.database,
                **limits,
            )
        return RedisStore(client, options.prefix + str(self._config.get("cache.prefix") or ""))
