"""SQLAlchemy engines and sessions of the configured connections, each made when it is first used."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

from lamplighter.contracts import Config
from lamplighter.errors import ConfigError
from lamplighter.support.options import parse_options

FILE = "config/database.py"
BUSY_TIMEOUT = 30  # seconds that a writer on SQLite waits for another


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteOptions:
    """A file, read from the base path, or `:memory:`."""

    driver: Literal["sqlite"]
    database: str = "database/database.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """A server; a URL wins over all else. `connect_timeout` is seconds."""

    driver: Literal["pgsql", "postgresql", "mysql", "mariadb"]
    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int | None = None
    database: str = "data_store"
    username: str = ""
    password: str = field(default="", repr=False)
    connect_timeout: int = 5
    pool_size: int = 5


class DatabaseManager:
    """Connections by name."""

    def __init__(self, config: Config, path: Callable[[str], Path]) -> None:
        self._config = config
        self._path = path
        self._engines: dict[str, Engine] = {}
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def default(self) -> str:
        """The name of the default connection."""
        return self._config.string("database.default")

    def engine(self, name: str | None = None) -> Engine:
        """The engine of a connection, the default without a name.

        Raises:
            ConfigError: there is no such connection, or its settings are wrong.
        """
        # Connections of a parent process must not be shared by its child.
        if self._pid != os.getpid():
            self._pid, self._engines = os.getpid(), {}
        name = name or self.default
        found = self._engines.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._engines:
                self._engines[name] = self._make(name)
            return self._engines[name]

    def session(self, name: str | None = None) -> Session:
        """A new session; whoever asks for it closes it."""
        return Session(self.engine(name), expire_on_commit=False)

    def dispose(self) -> None:
        """Close every connection."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()

    def _make(self, name: str) -> Engine:
        connections = self._config.mapping("database.connections", {})
        options = connections.get(name)
        if not isinstance(options, dict):
            known = ", ".join(sorted(connections)) or "none"
            raise ConfigError(f"{FILE} has no connection {name!r}; it has {known}.")
        where = f"{FILE} (connections.{name})"
        if options.get("driver") == "sqlite":
            return self._sqlite(parse_options(SqliteOptions, options, where=where))
        return _server(parse_options(ServerOptions, options, where=where), where)

    def _sqlite(self, options: SqliteOptions) -> Engine:
        database = options.database
        if database != ":memory:":
            file = self._path(database)
            file.parent.mkdir(parents=True, exist_ok=True)
            database = str(file)
        engine = create_engine(URL.create("sqlite", database=database), connect_args={"timeout": BUSY_TIMEOUT})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_as_writer)
        return engine


def _server(options: ServerOptions, where: str) -> Engine:
    is_postgres = options.driver in ("pgsql", "postgresql")
    driver = "postgresql+psycopg" if is_postgres else "mysql+pymysql"
    if options.url:
        url = make_url(options.url).set(drivername=driver)
    else:
        url = URL.create(
            driver,
            username=options.username or None,
            password=options.password or None,
            host=options.host,
            port=options.port or (5432 if is_postgres else 3306),
            database=options.database,
        )
    arguments: Mapping[str, Any] = {"connect_timeout": options.connect_timeout}
    try:
        return create_engine(url, pool_size=options.pool_size, connect_args=dict(arguments))
    except ModuleNotFoundError as error:
        extra = "postgresql" if is_postgres else "mysql"
        raise ConfigError(f"{where} needs the package {error.name}: pip install 'lamplighter[{extra}]'.") from error


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver begins nothing by itself: the engine says BEGIN IMMEDIATE, below.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_as_writer(connection: Any) -> None:
    # A transaction that reads first and writes then can't wait for another writer: it fails with "database is
    # locked". One that begins as a writer waits its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
