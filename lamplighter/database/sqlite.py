"""SQLite as SQLAlchemy sees it here: a transaction begins as a writer, and many processes may write."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.characteristics import ConnectionCharacteristic

from lamplighter.database.odd_values import any_text
from lamplighter.errors import ForkError
from lamplighter.support.clock import ceil_ms

DRIVER = "sqlite+lamplighter"
BUSY_TIMEOUT = 30  # seconds that a writer waits for another

# For `connection.execution_options(**READ_ONLY)`: what only reads need not wait for SQLite's one writer, nor stop it.
READ_ONLY = {"sqlite_begin": "DEFERRED"}
# What makes a table anew must not take the rows along that refer to it.
FOREIGN_KEYS_OFF = {"sqlite_foreign_keys": "OFF"}


# Text that is not UTF-8 is read as well, and does not stop the rows beside it.
ANY_TEXT = {"sqlite_text": "ANY"}

NOT_KNOWN = (-1, -1)  # which file is open


class FileMovedError(sqlite3.OperationalError):
    """The file of a connection was moved, replaced or removed: who opens its path next finds another, or none."""


class SqliteConnection(sqlite3.Connection):
    """A connection that knows how its transactions begin, as a statement or not at all, and which file it has open.

    A transaction that reads first and writes then can't wait for another writer: it fails with "database is locked".
    One that begins as a writer waits its turn.
    """

    WRITER = "BEGIN IMMEDIATE"

    begin = WRITER

    def __init__(self, database: str, *arguments: Any, **options: Any) -> None:
        self._path = None if database == ":memory:" else Path(database)
        before = self._at_path()
        super().__init__(database, *arguments, **options)
        # Where the file was made or replaced meanwhile, nobody can say which one is open.
        self._file = before if before == self._at_path() else NOT_KNOWN

    @property
    def has_moved(self) -> bool:
        """Whether another file than the open one stands at the path, or none; it costs one `stat`.

        SQLite writes into an open file whatever became of its name, and where that is gone, the file is gone with its
        last user. No new file has the number of one that is open.
        """
        return self._path is not None and self._file != self._at_path()

    def commit(self) -> None:
        """End a transaction, or the one that a statement was by itself.

        Raises:
            FileMovedError: the file is not that of the path any more. Looked at behind the commit: what was written
                before the file was moved went with it, and nothing is told as kept that was written later.
        """
        super().commit()
        if self.has_moved:
            raise FileMovedError(
                f"The SQLite file {self._path} was moved, replaced or removed while it was in use; what was written "
                "into the former file is not in the present one."
            )

    def _at_path(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


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


class BusyTimeout(ConnectionCharacteristic):
    """The execution option `sqlite_busy_timeout`: how many seconds a writer waits, until the pool has it back."""

    transactional = False

    def set_characteristic(self, dialect: Dialect, dbapi_conn: Any, value: float) -> None:
        """Wait so long."""
        dbapi_conn.execute(f"PRAGMA busy_timeout = {ceil_ms(value)}")

    def reset_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> None:
        """Wait as long as all do."""
        self.set_characteristic(dialect, dbapi_conn, BUSY_TIMEOUT)

    def get_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> float:
        """How long it waits."""
        return float(dbapi_conn.execute("PRAGMA busy_timeout").fetchone()[0]) / 1000


class TextFactory(ConnectionCharacteristic):
    """The execution option `sqlite_text`: ANY, until the pool has the connection back."""

    transactional = False

    def set_characteristic(self, dialect: Dialect, dbapi_conn: Any, value: str) -> None:
        """Read text of any bytes, or none but UTF-8."""
        dbapi_conn.text_factory = any_text if value == "ANY" else str

    def reset_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> None:
        """Read UTF-8."""
        dbapi_conn.text_factory = str

    def get_characteristic(self, dialect: Dialect, dbapi_conn: Any) -> str:
        """Which text is read, ANY or UTF-8."""
        return "ANY" if dbapi_conn.text_factory is any_text else "UTF-8"


class SqliteDialect(SQLiteDialect_pysqlite):
    """Says BEGIN itself, in place of the driver.

    An event "begin" could say it as well, but costs each statement of each connection a list of listeners.
    """

    supports_statement_cache = True
    connection_characteristics = SQLiteDialect_pysqlite.connection_characteristics.union(
        {
            "sqlite_begin": Begin(),
            "sqlite_busy_timeout": BusyTimeout(),
            "sqlite_foreign_keys": ForeignKeys(),
            "sqlite_text": TextFactory(),
        }
    )

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, or none where each statement is one."""
        connection = dbapi_connection.driver_connection
        if connection.begin:
            connection.execute(connection.begin)

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether a connection is of no more use."""
        return isinstance(e, FileMovedError) or super().is_disconnect(e, connection, cursor)

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
