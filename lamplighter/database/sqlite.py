"""SQLite as SQLAlchemy sees it here: a transaction begins as a writer, and many processes may write."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.characteristics import ConnectionCharacteristic

from lamplighter.errors import ForkError

DRIVER = "sqlite+lamplighter"
BUSY_TIMEOUT = 30  # seconds that a writer waits for another

# For `connection.execution_options(**READ_ONLY)`: what only reads need not wait for SQLite's one writer, nor stop it.
READ_ONLY = {"sqlite_begin": "DEFERRED"}
# What makes a table anew must not take the rows along that refer to it.
FOREIGN_KEYS_OFF = {"sqlite_foreign_keys": "OFF"}


class SqliteConnection(sqlite3.Connection):
    """A connection that knows how its transactions begin: as a statement, or not at all.

    A transaction that reads first and writes then can't wait for another writer: it fails with "database is locked".
    One that begins as a writer waits its turn.
    """

    WRITER = "BEGIN IMMEDIATE"

    begin = WRITER


class ParentsConnection(sqlite3.Connection):
    """What a connection is in a child that was forked while it was open: SQLite is not to be called with it."""

    def _refuse(self, *arguments: object, **options: object) -> Any:
        raise ForkError("This connection to SQLite was opened before the process was forked, and is the parent's.")

    def _nothing(self, *arguments: object) -> None:
        """The parent ends its own transaction."""

    cursor = execute = executemany = executescript = commit = backup = _refuse
    rollback = close = _nothing


def leave_to_parent(connection: SqliteConnection) -> None:
    """Called in a child: whoever has this connection can't use it any more."""
    connection.__class__ = ParentsConnection  # type: ignore[assignment]


class Begin(ConnectionCharacteristic):
    """The execution option `sqlite_begin`: DEFERRED, IMMEDIATE or EXCLUSIVE, until the pool has the connection back."""

    transactional = True

    def set_characteristic(self, dialect: Dialect, dbapi_conn: Any, value: str) -> None:
        """Begin in this way."""
        dbapi_conn.begin = f"BEGIN {value}"

    def reset_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> None:
        """Begin as a writer."""
        dbapi_conn.begin = SqliteConnection.WRITER

    def get_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> str:
        """How it begins."""
        return str(dbapi_conn.begin).removeprefix("BEGIN ")


class ForeignKeys(ConnectionCharacteristic):
    """The execution option `sqlite_foreign_keys`: OFF, until the pool has the connection back; not in a transaction."""

    transactional = True

    def set_characteristic(self, dialect: Dialect, dbapi_conn: Any, value: str) -> None:
        """Have them so from the next transaction on."""
        dbapi_conn.execute(f"PRAGMA foreign_keys = {value}")

    def reset_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> None:
        """Have them on."""
        dbapi_conn.execute("PRAGMA foreign_keys = ON")

    def get_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> str:
        """Whether they are ON or OFF."""
        return "ON" if dbapi_conn.execute("PRAGMA foreign_keys").fetchone()[0] else "OFF"


class SqliteDialect(SQLiteDialect_pysqlite):
    """Says BEGIN itself, in place of the driver.

    An event "begin" could say it as well, but costs each statement of each connection a list of listeners.
    """

    supports_statement_cache = True
    connection_characteristics = SQLiteDialect_pysqlite.connection_characteristics.union(
        {"sqlite_begin": Begin(), "sqlite_foreign_keys": ForeignKeys()}
    )

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, or none where each statement is one."""
        connection = dbapi_connection.driver_connection
        if connection.begin:
            connection.execute(connection.begin)

    def get_isolation_level_values(self, dbapi_conn: Any) -> Sequence[Any]:
        """What `isolation_level` may be."""
        return ("SERIALIZABLE", "AUTOCOMMIT")

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """AUTOCOMMIT where each statement is a transaction."""
        return "SERIALIZABLE" if dbapi_connection.begin else "AUTOCOMMIT"

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """The driver begins nothing in either case."""
        dbapi_connection.begin = "" if level == "AUTOCOMMIT" else SqliteConnection.WRITER

    def on_connect(self) -> Any:
        """Prepare a new connection."""
        connect = super().on_connect()

        def prepare(connection: Any) -> None:
            connect(connection)
            connection.isolation_level = None  # the driver begins nothing by itself
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = NORMAL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        return prepare


def register() -> None:
    """Make the dialect known to SQLAlchemy under its name."""
    registry.register(DRIVER.replace("+", "."), __name__, SqliteDialect.__name__)
