"""Finds the transaction that a push belongs to."""

import logging

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, SessionTransaction

from lamplighter.contracts import Application

log = logging.getLogger(__name__)

WATCHED = "lamplighter.pushes"


def session_of(app: Application, engine: Engine) -> Session | None:
    """The session that the running job was given, if it has begun a transaction in this database.

    Jobs that are pushed in it are there when it is committed, and never if it is not, which is said in the log.
    """
    scope = app.scope.get() or {}
    session = next((each for each in scope.values() if isinstance(each, Session)), None)
    if session is None or not session.in_transaction() or session.get_bind() is not engine:
        return None
    if WATCHED not in session.info:
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_transaction_end", _ended)
    session.info[WATCHED] = session.info.get(WATCHED, 0) + 1
    return session


def _committed(session: Session) -> None:
    session.info[WATCHED] = 0


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None and session.info.get(WATCHED):
        log.warning(
            "a transaction was not committed, and the jobs pushed in it are gone",
            extra={"pushes": session.info[WATCHED]},
        )
        session.info[WATCHED] = 0
