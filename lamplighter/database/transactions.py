"""What waits until the transaction of a session commits, and is dropped where it is rolled back."""

import logging
import re
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lamplighter.support.foreign import name_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session, SessionTransaction

log = logging.getLogger(__name__)

# The keys in a session's `info`.
LEVELS = "lamplighter.levels"
WRITES = "lamplighter.writes"
# What a statement that writes nothing begins with.
READS = ("SELECT", "SHOW", "EXPLAIN", "PRAGMA", "VALUES", "SAVEPOINT", "RELEASE", "ROLLBACK")
# In a statement that begins with WITH; a row may also be locked FOR UPDATE.
WRITING = re.compile(r"(?<!FOR )(?<!KEY )\b(INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)


@dataclass(slots=True)
class Waiting:
    """An action, and what a log line says of it where it is dropped."""

    action: Callable[[], object]
    fields: Mapping[str, object]


@dataclass(slots=True, eq=False)
class Level:
    """A transaction of a session, or a savepoint in it.

    Attributes:
        has_written: objects were added or written, so that something is lost where it is closed without a commit.
        finalizer: says so where the session is freed while its transaction is open.
    """

    transaction: "SessionTransaction"
    waiting: list[Waiting] = field(default_factory=list)
    has_written: bool = False
    is_committed: bool = False
    is_rolled_back: bool = False
    finalizer: "weakref.finalize[..., Any] | None" = None


class Transactions:
    """The open transactions of sessions of a class that `watched` has made."""

    def __init__(self) -> None:
        # Of this job, request or thread, the latest last; a session may end in another context than it began in.
        self._sessions: ContextVar[tuple[weakref.ref[Session], ...]] = ContextVar("lamplighter_sessions", default=())
        self._users: weakref.WeakKeyDictionary[Connection, weakref.ref[Session]] = weakref.WeakKeyDictionary()
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()

    def watched(self, cls: "type[Session]") -> "type[Session]":
        """A subclass of a session's class whose transactions are known here."""
        from sqlalchemy import event

        watched = type(cls.__name__, (cls,), {"__module__": cls.__module__})
        listeners: dict[str, Callable[..., object]] = {
            "after_transaction_create": self._began,
            "after_transaction_end": self._ended,
            "after_commit": _committed,
            "after_rollback": _rolled_back,
            "transient_to_pending": lambda session, _: _wrote(session),
            "after_begin": self._connected,
        }
        for name, listener in listeners.items():
            event.listen(watched, name, listener)
        return watched

    @property
    def is_open(self) -> bool:
        """Whether a session has a transaction open that was begun here."""
        return self._latest() is not None

    def after_commit(self, action: Callable[[], object], **fields: object) -> bool:
        """Call `action` when the outermost transaction of the latest open session commits; False without one.

        It is dropped where that is rolled back, or the savepoint that is open now; and where the session is closed
        without a commit after it has written something. One that has only read loses nothing by being closed, and the
        action is called then. What it raises, whoever commits gets, after the commit; the other actions are called.

        Args:
            fields: what the log tells of an action that is dropped.
        """
        session = self._latest()
        if session is None:
            return False
        level: Level = session.info[LEVELS][-1]
        level.waiting.append(Waiting(action, fields))
        if level.finalizer is None:
            level.finalizer = weakref.finalize(session, _tell_lost, level.waiting)
        level.has_written = level.has_written or bool(session.new or session.dirty or session.deleted)
        return True

    def _latest(self) -> "Session | None":
        for reference in reversed(self._sessions.get()):
            session = reference()
            if session is not None and session.info.get(LEVELS) and session.in_transaction():
                return session
        return None

    def _began(self, session: "Session", transaction: "SessionTransaction") -> None:
        if transaction.parent is None:
            session.info[LEVELS] = [Level(transaction, has_written=session.info.pop(WRITES, False))]
            self._sessions.set((*self._others(session), weakref.ref(session)))
        elif transaction.nested:
            session.info[LEVELS].append(Level(transaction))

    def _connected(self, session: "Session", transaction: object, connection: "Connection") -> None:
        """Watch what runs by its connection, by whatever way: an object that is flushed, or the connection itself."""
        from sqlalchemy import event

        self._users[connection] = weakref.ref(session)
        engine = connection.engine
        if engine not in self._engines:
            self._engines.add(engine)
            event.listen(engine, "before_cursor_execute", self._executes)

    def _executes(self, connection: "Connection", cursor: object, statement: str, *_: object) -> None:
        reference = self._users.get(connection)
        session = None if reference is None else reference()
        if session is not None and _is_write(statement):
            _wrote(session)

    def _ended(self, session: "Session", transaction: "SessionTransaction") -> None:
        if not (transaction.parent is None or transaction.nested):
            return
        levels: list[Level] = session.info.get(LEVELS, [])
        if not levels or levels[-1].transaction is not transaction:
            return
        level = levels.pop()
        if level.finalizer is not None:
            level.finalizer.detach()
        if levels:
            _end_savepoint(level, levels[-1])
            return
        self._sessions.set(self._others(session))
        if level.waiting:
            _end(level)

    def _others(self, session: "Session") -> "tuple[weakref.ref[Session], ...]":
        return tuple(each for each in self._sessions.get() if each() not in (None, session))


def _end_savepoint(level: Level, outer: Level) -> None:
    if level.is_committed:
        outer.waiting += level.waiting
        outer.has_written = outer.has_written or level.has_written
        return
    _drop(level)


def _end(level: Level) -> None:
    if level.is_rolled_back or (level.has_written and not level.is_committed):
        _drop(level)
        return
    errors: list[Exception] = []
    for waiting in level.waiting:
        try:
            waiting.action()
        except Exception as error:
            errors.append(error)
    if errors:
        for other in errors[1:]:
            errors[0].add_note(f"Beside it: {name_of(other)}: {other}")
        errors[0].add_note("It was raised after the transaction had ended, by what had waited for its commit.")
        raise errors[0]


def _drop(level: Level) -> None:
    for waiting in level.waiting:
        if level.is_rolled_back:
            log.info("a dispatch is dropped: its transaction was rolled back", extra=dict(waiting.fields))
        else:
            log.warning(
                "a dispatch is dropped: its transaction was closed without a commit", extra=dict(waiting.fields)
            )


def _tell_lost(waiting: list[Waiting]) -> None:
    for each in waiting:
        log.error("a dispatch is lost: its session was neither committed nor closed", extra=dict(each.fields))


def _committed(session: "Session") -> None:
    session.info[LEVELS][-1].is_committed = True


def _rolled_back(session: "Session") -> None:
    session.info[LEVELS][-1].is_rolled_back = True


def _wrote(session: "Session") -> None:
    levels = session.info.get(LEVELS)
    if levels:
        levels[-1].has_written = True
    else:
        session.info[WRITES] = True  # the transaction begins with this statement


def _is_write(statement: str) -> bool:
    head = statement.lstrip(" \t\r\n(")[:9].upper()
    return bool(WRITING.search(statement)) if head.startswith("WITH") else not head.startswith(READS)
