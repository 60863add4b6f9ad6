"""Which statements a database takes."""

from sqlalchemy import Engine

from lamplighter.queue.drivers.database.mysql import MysqlRows
from lamplighter.queue.drivers.database.postgresql import PostgresqlRows
from lamplighter.queue.drivers.database.rows import Rows
from lamplighter.queue.drivers.database.sqlite import SqliteRows


def rows_of(engine: Engine, table: str, seconds: float) -> Rows:
    """The statements for a table; a server whose version matters is asked for it."""
    quote = engine.dialect.identifier_preparer.quote
    parts = table.split(".")
    quoted = ".".join(quote(part) for part in parts)
    if engine.dialect.name == "sqlite":
        return SqliteRows(quoted, seconds=seconds)
    quoted = quoted.replace("%", "%%")
    if engine.dialect.name == "postgresql":
        return PostgresqlRows(quoted, seconds=seconds)
    with engine.connect():
        pass  # the engine knows its server from now on
    version = engine.dialect.server_version_info or ()
    is_mariadb = getattr(engine.dialect, "is_mariadb", False)
    can_skip = version >= ((10, 6) if is_mariadb else (8, 0, 1))
    return MysqlRows(quoted, seconds=seconds, can_skip=can_skip, bare_table=parts[-1])
