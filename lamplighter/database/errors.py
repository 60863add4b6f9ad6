"""Tells errors of the database apart, without importing anything that is not there already."""

import sys
from collections.abc import Iterator

LOST_STATES = ("08", "57P01", "57P02", "57P03")  # PostgreSQL: connection exceptions, shutdown, starting up
LOST_NUMBERS = frozenset({2002, 2003, 2006, 2013, 2055, 1053})  # MySQL: can't connect, gone away, lost
DEADLOCK_STATES = frozenset({"40001", "40P01"})
DEADLOCK_NUMBERS = frozenset({1213, 1205})
LOST_WORDS = (
    "connection refused",
    "connection is closed",
    "the connection is lost",
    "server closed the connection",
    "connection timeout expired",
    "connection failed",
    "terminating connection",
    "consuming input failed",
)


class SqlAlchemyErrors:
    """What the worker asks about an error of a job."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """Whether the database could not be reached, so that the job is to wait for it."""
        return any(_is_lost(step) for step in _chain(error))

    def is_deadlock(self, error: BaseException) -> bool:
        """Whether two transactions stood in each other's way, so that the job is to be run again."""
        return any(_is_deadlock(step) for step in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__ or step.__context__


def _is_lost(error: BaseException) -> bool:
    alchemy = sys.modules.get("sqlalchemy.exc")
    if alchemy is None:
        return False
    if isinstance(error, alchemy.TimeoutError):
        return True
    if not isinstance(error, alchemy.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    state, number, text = _signs(error)
    if state.startswith(LOST_STATES) or number in LOST_NUMBERS:
        return True
    kinds = (alchemy.OperationalError, alchemy.InterfaceError)
    return not state and isinstance(error, kinds) and any(word in text for word in LOST_WORDS)


def _is_deadlock(error: BaseException) -> bool:
    alchemy = sys.modules.get("sqlalchemy.exc")
    if alchemy is None or not isinstance(error, alchemy.DBAPIError):
        return False
    state, number, text = _signs(error)
    return state in DEADLOCK_STATES or number in DEADLOCK_NUMBERS or "database is locked" in text


def _signs(error: BaseException) -> tuple[str, int, str]:
    """The SQLSTATE, MySQL's number and the text in lower case, as far as the driver gives them."""
    original = getattr(error, "orig", None)
    state = str(getattr(original, "sqlstate", None) or "")
    arguments = getattr(original, "args", ())
    number = arguments[0] if arguments and isinstance(arguments[0], int) else 0
    return state, number, str(original).lower()
