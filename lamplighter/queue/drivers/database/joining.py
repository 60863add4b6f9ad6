"""Finds the transaction that a push belongs to."""

import logging
from dataclasses import dataclass, field

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, SessionTransaction

from lamplighter.contracts import Application

log = logging.getLogger(__name__)

WATCHED = "lamplighter.pushes"


@dataclass(slots=True)
class Pushes:
    """How many pushes stand in each open transaction of a session, and in each savepoint of it.

    Attributes:
        committed: the last one that was committed, or released.
    """

    counts: dict[SessionTransaction | None, int] = field(default_factory=dict)
    committed: SessionTransaction | None = None


def session_of(app: Application, engine: Engine) -> Session | None:
    """The session that the running job was given, if it has begun a transaction in this database.

    Jobs that are pushed in it are there when it is committed, and never if it is not, which is said in the log.
    """
    scope = app.scope.get() or {}
    session = next((each for each in scope.values() if isinstance(each, Session)), None)
    if session is None or not session.in_transaction() or session.get_bind() is not engine:
        return None
    if WATCHED not in session.info:
        session.info[WATCHED] = Pushes()
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_transaction_end", _ended)
    counts = session.info[WATCHED].counts
    transaction = _current(session)
    counts[transaction] = counts.get(transaction, 0) + 1
    return session


def _current(session: Session) -> SessionTransaction | None:
    """The innermost savepoint, or the transaction."""
    return session.get_nested_transaction() or session.get_transaction()


def _committed(session: Session) -> None:
    session.info[WATCHED].committed = _current(session)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    pushes: Pushes = session.info[WATCHED]
    count = pushes.counts.pop(transaction, 0)
    if not count:
        return
    if pushes.committed is not transaction:
        log.warning("a transaction was not committed, and the jobs pushed in it are gone", extra={"pushes": count})
    elif transaction.parent is not None:
        pushes.counts[transaction.parent] = pushes.counts.get(transaction.parent, 0) + count
