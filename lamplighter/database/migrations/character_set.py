"""What new tables of MySQL and MariaDB can keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, event, text

WANTED = "utf8mb4"
COLLATION = "utf8mb4_unicode_ci"  # Laravel's


@contextmanager
def tables_keep_any_text(connection: Connection) -> Iterator[None]:
    """Make tables with UTF-8 while the block runs, also in a database whose own character set is another.

    A server that was set up without one may have latin1, whose tables refuse most letters. A table that names its own
    keeps it, and a database of UTF-8 keeps its own collation, by which tables refer to each other.
    """
    name = connection.dialect.name
    if name not in ("mysql", "mariadb") or _is_utf8(connection):
        yield
        return

    def choose(table: Table, *_: Any, **__: Any) -> None:
        options: Any = table.dialect_kwargs
        if not any("char" in key or "collate" in key for key in options):
            options[f"{name}_charset"], options[f"{name}_collate"] = WANTED, COLLATION

    event.listen(Table, "before_create", choose)
    try:
        yield
    finally:
        event.remove(Table, "before_create", choose)


def _is_utf8(connection: Connection) -> bool:
    found = connection.execute(text("SELECT @@character_set_database")).scalar()
    connection.rollback()  # a run begins without a transaction
    return found == WANTED
