"""Tells errors of the database apart, without importing anything that is not there already.

The errors are those of jobs, which may be anything: a text where SQLAlchemy has the driver's error, a property that
raises where a driver has the SQLSTATE. What can't be read is no sign of anything.
"""

import sys
from typing import cast

from lamplighter.support.foreign import (
    as_integer,
    as_text,
    attribute,
    base_names,
    chain_of,
    is_a,
    is_true,
    path_of,
    text_of,
)

DRIVERS = frozenset({"psycopg", "psycopg2", "pymysql", "MySQLdb", "sqlite3"})
KINDS = frozenset({"OperationalError", "InterfaceError"})  # of PEP 249; the others are not about the connection
LOST_BEFORE = "8s2b"  # SQLAlchemy's, for a session that lost its connection and is used on: sqlalche.me/e/20/8s2b
# PostgreSQL: connection exceptions, too many connections, shutdown, starting up.
LOST_STATES = ("08", "53300", "57P01", "57P02", "57P03")
# MySQL: can't connect, gone away, lost, shutdown; too many connections, of all or of this user; idle for too long.
LOST_NUMBERS = frozenset({2002, 2003, 2006, 2013, 2055, 1053, 1040, 1203, 1226, 4031})
# Serialization, deadlock, a lock that was not free in time: on PostgreSQL, and on MySQL.
DEADLOCK_STATES = frozenset({"40001", "40P01", "55P03"})
DEADLOCK_NUMBERS = frozenset({1213, 1205})
SQLITE_BUSY = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED: https://www.sqlite.org/rescode.html
LOST_WORDS = (
    "connection refused",
    "connection is closed",
    "the connection is lost",
    "server closed the connection",
    "connection timeout expired",
    "connection failed",
    "terminating connection",
    "consuming input failed",
    # A container that is stopped takes its name with it.
    "failed to resolve host",
    "could not translate host name",
)
# A connection attempt has no SQLSTATE. These answers of a server that is there need a person, and no waiting helps.
REFUSED_WORDS = (
    "does not exist",
    "authentication failed",
    "no pg_hba.conf entry",
    "no password supplied",
    "is not permitted to log in",
    "is not currently accepting connections",
    "permission denied for database",
)
# The same as SQLSTATEs, and as numbers of MySQL and MariaDB: access, database, host, plugin, password, account.
REFUSED_STATES = frozenset({"28000", "28P01", "3D000"})
REFUSED_NUMBERS = frozenset({1044, 1045, 1049, 1130, 1251, 1698, 1820, 1862, 2059, 3118, 4151})


class SqlAlchemyErrors:
    """What the worker asks about an error of a job; what a driver raised by itself is read as well."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """Whether the database could not be reached, so that the job is to wait for it."""
        return any(_is_lost(step) for step in chain_of(error))

    def is_deadlock(self, error: BaseException) -> bool:
        """Whether two transactions stood in each other's way, so that the job is to be run again."""
        return any(_is_deadlock(step) for step in chain_of(error))


def is_timeout(error: BaseException) -> bool:
    """Whether a statement has waited for its time: for a lock, or for whatever a server's limit ended."""
    cause = _driver_error(error)
    return _is_deadlock(error) or (cause is not None and _signs(cause)[0] == "57014")


def is_missing_table(error: BaseException) -> bool:
    """Whether a statement named a table that is not there."""
    cause = _driver_error(error)
    if cause is None:
        return False
    state, number, text = _signs(cause)
    return state == "42P01" or number == 1146 or text.startswith("no such table")


def is_refused_login(error: BaseException) -> bool:
    """Whether a server that is there lets nobody in by this name, which needs a person."""
    cause = _driver_error(error)
    if cause is None or _driver(cause) == "sqlite3":
        return False
    state, number, text = _signs(cause)
    if number in REFUSED_NUMBERS or state in REFUSED_STATES:
        return True
    return not state and "connection failed" in text and _says(text, REFUSED_WORDS)


def _is_lost(error: BaseException) -> bool:
    alchemy = sys.modules.get("sqlalchemy.exc")
    if alchemy is not None:
        if is_a(error, alchemy.TimeoutError):
            return True
        if is_a(error, alchemy.DBAPIError) and is_true(attribute(error, "connection_invalidated")):
            return True
        if is_a(error, alchemy.PendingRollbackError) and as_text(attribute(error, "code")) == LOST_BEFORE:
            return True
    cause = _driver_error(error)
    if cause is None or _driver(cause) == "sqlite3":
        return False
    state, number, text = _signs(cause)
    if number in LOST_NUMBERS:  # first: PyMySQL tells an SQLSTATE, too, which says less
        return True
    if state:
        return state.startswith(LOST_STATES)
    is_about_connection = any(name in KINDS for name in base_names(cause))
    return is_about_connection and _says(text, LOST_WORDS) and not _says(text, REFUSED_WORDS)


def _is_deadlock(error: BaseException) -> bool:
    cause = _driver_error(error)
    if cause is None:
        return False
    if _driver(cause) == "sqlite3":
        # The low byte is the error; what stands above it tells its kinds apart.
        return as_integer(attribute(cause, "sqlite_errorcode")) & 0xFF in SQLITE_BUSY
    state, number, _ = _signs(cause)
    return state in DEADLOCK_STATES or number in DEADLOCK_NUMBERS


def _driver_error(error: BaseException) -> BaseException | None:
    """The driver's own error: the one given, or the one that SQLAlchemy wrapped."""
    alchemy = sys.modules.get("sqlalchemy.exc")
    if alchemy is not None and is_a(error, alchemy.DBAPIError):
        original = attribute(error, "orig")
        # Applications give a text, or a class, where they raise one of SQLAlchemy's errors themselves.
        return cast(BaseException, original) if is_a(original, BaseException) else None
    return error if _driver(error) in DRIVERS else None


def _driver(error: BaseException) -> str:
    return path_of(error)[0].partition(".")[0]


def _signs(error: BaseException) -> tuple[str, int, str]:
    """The SQLSTATE, MySQL's number and the text in lower case, as far as the driver gives them."""
    state = as_text(attribute(error, "sqlstate")) or as_text(attribute(error, "pgcode"))
    return state, _number(error), text_of(error).lower()


def _number(error: BaseException) -> int:
    arguments = attribute(error, "args")
    return as_integer(arguments[0]) if type(arguments) is tuple and arguments else 0


def _says(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)
