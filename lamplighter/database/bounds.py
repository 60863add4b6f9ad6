"""Bounds how long the statements of one transaction wait for the locks of others."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from lamplighter.support.clock import ceil_ms

POSTGRESQL = text("SELECT set_config('lock_timeout', :wait, true), set_config('statement_timeout', :wait, true)")
MYSQL = "SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.lock_wait_timeout"
MYSQL_SET = "SET SESSION innodb_lock_wait_timeout = {:d}, lock_wait_timeout = {:d}"


@contextmanager
def begun(connection: Connection, *, timeout: float | None = None) -> Iterator[None]:
    """A transaction, committed at its end, of which no statement waits longer than so many seconds.

    MySQL counts whole seconds, one at least. None leaves it to the database's own settings.
    """
    name = connection.dialect.name
    if timeout is None:
        with connection.begin():
            yield
    elif name == "sqlite":
        with connection.execution_options(sqlite_busy_timeout=timeout).begin():
            yield
    elif name == "postgresql":
        with connection.begin():
            connection.execute(POSTGRESQL, {"wait": f"{ceil_ms(timeout)}ms"})
            yield
    else:
        with connection.begin(), _waiting_in_mysql(connection, max(1, int(timeout))):
            yield


@contextmanager
def _waiting_in_mysql(connection: Connection, seconds: int) -> Iterator[None]:
    before = connection.exec_driver_sql(MYSQL).one()
    connection.exec_driver_sql(MYSQL_SET.format(seconds, seconds))
    try:
        yield
    finally:
        if not connection.invalidated:  # else nothing is left of it
            connection.exec_driver_sql(MYSQL_SET.format(*before))
