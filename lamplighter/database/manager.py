"""SQLAlchemy engines and sessions of the configured connections, each made when it is first used."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from lamplighter.contracts import Config
from lamplighter.database import sqlite
from lamplighter.database.connections import Connections
from lamplighter.database.logins import bound_logins
from lamplighter.database.pool import FilePool, ServerPool
from lamplighter.database.statements import Statements
from lamplighter.database.transactions import Transactions
from lamplighter.errors import ConfigError
from lamplighter.support.forking import Lock, notice_fork, watch
from lamplighter.support.options import parse_options

FILE = "config/database.py"
POSTGRESQL, MYSQL = "postgresql+psycopg", "mysql+pymysql"
# What a url of theirs may begin with.
SCHEMES = {POSTGRESQL: ("postgresql", "postgres", "pgsql"), MYSQL: ("mysql", "mariadb")}
# The modes of a session that Laravel sets.
LOOSE = "NO_ENGINE_SUBSTITUTION"
STRICT = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteOptions:
    """A file, read from the base path, or `:memory:`."""

    driver: Literal["sqlite"]
    database: str = "database/database.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """A server; a URL wins over all else. `connect_timeout` is seconds.

    `strict` is for MySQL and MariaDB, as in Laravel: whatever the server's own mode, a value that does not fit is
    refused instead of being cut.
    """

    driver: Literal["pgsql", "postgresql", "mysql", "mariadb"]
    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int | None = None
    database: str = "data_store"
    username: str = ""
    password: str = field(default="", repr=False)
    connect_timeout: int = 5
    pool_size: int = 5
    strict: bool = True
    application_name: str = "lamplighter"  # PostgreSQL shows it in pg_stat_activity


class DatabaseManager:
    """Connections by name."""

    def __init__(self, config: Config, path: Callable[[str], Path]) -> None:
        self._config = config
        self._path = path
        self._engines: dict[str, Engine] = {}
        self._statements: dict[str, Statements] = {}
        self._connections: dict[str, Connections] = {}
        self._session = Session
        self._lock = threading.Lock()
        watch(
            self,
            in_child=DatabaseManager._begin_as_child,
            locks=DatabaseManager._locks,
            before=DatabaseManager._before_fork,
        )

    @property
    def default(self) -> str:
        """The name of the default connection."""
        return self._config.string("database.default")

    def engine(self, name: str | None = None) -> Engine:
        """The engine of a connection, the default without a name.

        Raises:
            ConfigError: there is no such connection, or its settings are wrong.
        """
        notice_fork()
        name = name or self.default
        found = self._engines.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._engines:
                engine = self._make(name)
                self._connections[name] = Connections(engine)
                self._engines[name] = engine
            return self._engines[name]

    def session(self, name: str | None = None) -> Session:
        """A new session; whoever asks for it closes it."""
        return self._session(self.engine(name), expire_on_commit=False)

    def track(self, transactions: Transactions) -> None:
        """Let `transactions` know of those of all sessions that are made from now on."""
        self._session = transactions.watched(Session)

    def statements(self, name: str | None = None) -> Statements:
        """Where single statements run, each a transaction by itself."""
        name = name or self.default
        with self._lock:
            if name not in self._statements:
                self._statements[name] = Statements(self, name)
            return self._statements[name]

    def dispose(self) -> None:
        """Close every connection."""
        for statements in self._statements.values():
            statements.close()
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        self._connections.clear()

    def _locks(self) -> list[Lock]:
        return [self._lock, *(lock for connections in list(self._connections.values()) for lock in connections.locks)]

    def _before_fork(self, until: float) -> None:
        for connections in list(self._connections.values()):
            connections.before_fork(until, self._let_go)

    def _let_go(self) -> None:
        for statements in list(self._statements.values()):
            statements.let_go()

    def _begin_as_child(self) -> None:
        self._lock = threading.Lock()
        for statements in self._statements.values():
            statements.begin_as_child()
        for connections in self._connections.values():
            connections.begin_as_child()

    def _make(self, name: str) -> Engine:
        connections = self._config.mapping("database.connections", {})
        options = connections.get(name)
        if not isinstance(options, dict):
            known = ", ".join(sorted(connections)) or "none"
            raise ConfigError(f"{FILE} has no connection {name!r}; it has {known}.")
        where = f"{FILE} (connections.{name})"
        if options.get("driver") == "sqlite":
            return self._sqlite(parse_options(SqliteOptions, options, where=where), where)
        return _server(parse_options(ServerOptions, options, where=where), where)

    def _sqlite(self, options: SqliteOptions, where: str) -> Engine:
        database = options.database
        if not database:
            raise ConfigError(f"{where} has an empty `database`; it is a file, or :memory:.")
        if database != ":memory:":
            file = self._path(database)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"{where} has its file in {file.parent}, which can't be made: {error.strerror}."
                ) from error
            database = str(file)
        sqlite.register()
        url = URL.create(sqlite.DRIVER, database=database)
        arguments = {"timeout": sqlite.BUSY_TIMEOUT, "factory": sqlite.SqliteConnection}
        # An error's text would hold the parameters, and the failed-job store and the log keep that text.
        pool = None if options.database == ":memory:" else FilePool
        return create_engine(url, connect_args=arguments, hide_parameters=True, poolclass=pool)


def _server(options: ServerOptions, where: str) -> Engine:
    is_postgres = options.driver in ("pgsql", "postgresql")
    url = _url(options, POSTGRESQL if is_postgres else MYSQL, where)
    arguments: dict[str, Any] = {"connect_timeout": options.connect_timeout}
    if is_postgres:
        arguments["application_name"] = options.application_name
    else:
        arguments["sql_mode"] = STRICT if options.strict else LOOSE
    # What the URL says itself wins.
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    try:
        # No ping before each use: it costs a round trip a job, and the worker deals with a connection that is lost.
        engine = create_engine(
            url,
            poolclass=ServerPool,
            pool_size=options.pool_size,
            connect_args=arguments,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        extra = "postgresql" if is_postgres else "mysql"
        raise ConfigError(f"{where} needs the package {error.name}: pip install 'lamplighter[{extra}]'.") from error
    if not is_postgres:
        bound_logins(engine, options.connect_timeout)
    return engine


def _url(options: ServerOptions, driver: str, where: str) -> URL:
    if options.url:
        try:
            url = make_url(options.url)
        except (ArgumentError, ValueError):
            # The text of the error could hold the password.
            raise ConfigError(f"{where} has a url that is none; such as postgresql://user@host:5432/name.") from None
        scheme = url.drivername.partition("+")[0]
        if scheme not in SCHEMES[driver]:
            raise ConfigError(f"{where} has the driver {options.driver}, but a url of {scheme}://; they must agree.")
        return url.set(drivername=driver)
    if not options.database:
        # A server would take the user's name for it.
        raise ConfigError(f"{where} has an empty `database`; it is the name of one.")
    return URL.create(
        driver,
        username=options.username or None,
        password=options.password or None,
        host=options.host,
        port=options.port or (5432 if driver == POSTGRESQL else 3306),
        database=options.database,
    )
