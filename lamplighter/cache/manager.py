"""The configured stores, each made when it is first used."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lamplighter.cache.repository import Cache
from lamplighter.contracts import Config, Store
from lamplighter.errors import ConfigError
from lamplighter.support.forking import watch
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
    """A store in Redis; `prefix` stands before the cache's own. A URL wins over host, port and credentials.

    Locks are in a database of their own, since on PHP's side a lock and a value of one name have one key; Laravel calls
    it `lock_connection`. Where it is that of the values, or none is named, locks have other keys.
    """

    driver: Literal["redis"]
    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 1
    lock_database: int | None = None
    prefix: str = ""
    timeout: float = 5.0


class CacheManager:
    """Stores by name."""

    def __init__(self, config: Config, path: Callable[[str], Path]) -> None:
        self._config = config
        self._path = path
        self._stores: dict[tuple[str, float | None], Cache] = {}
        self._lock = threading.Lock()
        watch(self, in_child=CacheManager._begin_as_child, locks=lambda manager: (manager._lock,))

    def store(self, name: str | None = None, *, timeout: float | None = None) -> Cache:
        """A store by name, the default without one; with `timeout` (seconds), on a connection of its own.

        Raises:
            ConfigError: there is no such store, or its settings are wrong.
        """
        name = name or self._config.string("cache.default")
        found = self._stores.get((name, timeout))
        if found is not None:
            return found
        with self._lock:  # two stores in memory would not know each other's locks
            if (name, timeout) not in self._stores:
                self._stores[name, timeout] = Cache(self._make(name, timeout))
            return self._stores[name, timeout]

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()  # each store begins anew by itself

    def _make(self, name: str, timeout: float | None) -> Store:
        stores = self._config.mapping("cache.stores", {})
        options = stores.get(name)
        if not isinstance(options, dict):
            raise ConfigError(f"{FILE} has no store {name!r}; it has {', '.join(sorted(stores)) or 'none'}.")
        where = f"{FILE} (stores.{name})"
        makers: dict[str, Callable[[], Store]] = {
            "array": lambda: self._array(options, where),
            "file": lambda: self._file(options, where),
            "null": lambda: self._null(options, where),
            "redis": lambda: self._redis(options, where, timeout),
        }
        driver = options.get("driver")
        make = makers.get(driver) if isinstance(driver, str) else None
        if make is None:
            raise ConfigError(f"{where} has the driver {driver!r}; the known ones are array, file, null and redis.")
        return make()

    def _array(self, values: Mapping[str, Any], where: str) -> Store:
        from lamplighter.cache.stores.array import ArrayStore

        parse_options(PlainOptions, values, where=where)
        return ArrayStore()

    def _null(self, values: Mapping[str, Any], where: str) -> Store:
        from lamplighter.cache.stores.null import NullStore

        parse_options(PlainOptions, values, where=where)
        return NullStore()

    def _file(self, values: Mapping[str, Any], where: str) -> Store:
        from lamplighter.cache.stores.file import FileStore

        return FileStore(self._path(parse_options(FileOptions, values, where=where).path))

    def _redis(self, values: Mapping[str, Any], where: str, timeout: float | None) -> Store:
        options = parse_options(RedisOptions, values, where=where)
        try:
            from lamplighter.cache.stores.redis import RedisStore, connect
        except ImportError as error:
            raise ConfigError(f"{where} needs the package redis: pip install 'lamplighter[redis]'.") from error
        make = partial(
            connect,
            url=options.url,
            host=options.host,
            port=options.port,
            username=options.username,
            password=options.password,
            timeout=options.timeout if timeout is None else timeout,
        )
        prefix = options.prefix + str(self._config.get("cache.prefix") or "")
        locks = None if options.lock_database is None else partial(make, database=options.lock_database)
        try:
            return RedisStore(partial(make, database=options.database), prefix, locks)
        except ValueError:
            # Its text may hold the password.
            raise ConfigError(f"{where} has a url that is no address, such as redis://127.0.0.1:6379/1.") from None
