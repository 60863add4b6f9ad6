"""What the errors of databases mean for a queue."""

from typing import Any

from lamplighter.database.errors import SqlAlchemyErrors, is_missing_table
from lamplighter.errors import QueueError, Unavailable, UnsupportedDelay

FULL = "Its disk is full: make room; nothing was changed."
READ_ONLY = "It can only be read: connect to the server, or as the user, that may write."
DENIED = "Its user lacks a right: GRANT SELECT, INSERT, UPDATE and DELETE on the table."
ADVICE: dict[object, str] = {
    # SQLSTATEs of PostgreSQL
    "53100": FULL,
    "25006": READ_ONLY,
    "42501": DENIED,
    # numbers of MariaDB and MySQL
    3: FULL,
    1021: FULL,
    1114: FULL,
    1290: READ_ONLY,
    1792: READ_ONLY,
    1836: READ_ONLY,
    1142: DENIED,
    1143: DENIED,
}
SQLITE_ADVICE = {
    13: FULL,
    8: "Its file, or the folder of the file, can't be written: see to their rights.",
    10: "Its disk fails, or is full.",
    14: "Its file can't be opened: see to the rights of the folder.",
    11: "Its file is damaged: put a backup in its place.",
    26: "Its file is no SQLite database: name another one in config/database.py.",
}
LOCK_TIMEOUT = frozenset({"55P03", 1205})
OUT_OF_RANGE = frozenset({"22003", 1264})


def refusal(error: BaseException, *, table: str, connection: str, is_broken: bool = False) -> QueueError:
    """The error of the framework that an error of a database stands for.

    Args:
        is_broken: the connection to the database was lost by it, whatever it says.
    """
    errors = SqlAlchemyErrors()
    original = getattr(error, "orig", None) or error
    reason = _reason(original)
    if is_missing_table(error):
        return QueueError(
            f"The table {table} of the queue connection {connection!r} is not there; run `queue:table`, then `migrate`."
        )
    if is_broken or errors.is_lost_connection(error):
        return Unavailable(f"The database of the queue connection {connection!r} does not answer: {reason}")
    if errors.is_deadlock(error):
        return Unavailable(f"The table {table} of the queue connection {connection!r} is locked: {reason}")
    if _sign(original) in OUT_OF_RANGE:
        return UnsupportedDelay(f"The table {table} can't hold a time so far away: {reason}")
    advice = _advice(original)
    return QueueError(
        f"The database of the queue connection {connection!r} refuses: {reason}{' ' + advice if advice else ''}"
    )


def has_waited(error: BaseException) -> bool:
    """Whether what an error of the framework stands for is a lock that was waited for as long as there is time."""
    cause = error.__cause__
    return cause is not None and _sign(getattr(cause, "orig", None) or cause) in LOCK_TIMEOUT


def _reason(error: BaseException) -> str:
    told = error.args[1] if len(error.args) == 2 and isinstance(error.args[0], int) else error  # of PyMySQL
    return " ".join(str(told).split()) or type(error).__name__


def _sign(error: Any) -> object:
    """MySQL's number, which says more than its SQLSTATE, or PostgreSQL's SQLSTATE."""
    arguments: tuple[object, ...] = getattr(error, "args", None) or (None,)
    return arguments[0] if isinstance(arguments[0], int) else getattr(error, "sqlstate", None) or arguments[0]


def _advice(error: Any) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return SQLITE_ADVICE.get(code & 0xFF, "")
    sign = _sign(error)
    return ADVICE.get(sign, "") if isinstance(sign, str | int) else ""
