"""Connections with `driver: database`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lamplighter.contracts import Application
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.database.joining import session_of
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.claims import ClaimOptions, make_claims
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import RETRY_AFTER
from lamplighter.support.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions(ClaimOptions):
    """The keys of a connection with `driver: database`, which are Laravel's but for the last.

    `connection` is one of config/database.py, None the default; `retry_after` is seconds.
    """

    driver: Literal["database"]
    connection: str | None = None
    table: str = "jobs"
    queue: str = "default"
    retry_after: float = RETRY_AFTER
    join_transaction: bool = False


def connect(app: Application, name: str, options: Mapping[str, Any]) -> LeasingQueue:
    """The connection of config/queue.py."""
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(DatabaseOptions, options, where=where)
    if not 1 <= settings.retry_after < 1e9:
        raise ConfigError(f"{where} has a `retry_after` of {settings.retry_after:g}; it is seconds, 1 or more.")

    def joined(engine: Engine) -> Session | None:
        return session_of(app, engine)

    store = DatabaseStore(
        app.make(DatabaseManager),
        name,
        database=settings.connection or None,
        table=settings.table,
        seconds=settings.retry_after,
        **({"joined": joined} if settings.join_transaction else {}),
    )
    claims = make_claims(settings, where=where)
    return LeasingQueue(name, store, default_queue=settings.queue, claims=claims)
