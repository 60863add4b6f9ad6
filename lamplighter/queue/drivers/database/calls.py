"""Calls of a database: bounded, repeated where that helps, and with the framework's errors."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from lamplighter.database.errors import SqlAlchemyErrors, is_refused_login
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.database.bounded import Bounded
from lamplighter.queue.drivers.database.own import OwnConnection
from lamplighter.queue.drivers.database.refusals import has_waited, refusal

T = TypeVar("T")

TRIES = 5  # of a transaction that another one stood in the way of


class Calls:
    """Those of one queue connection.

    Args:
        connection: the name of the queue connection, for errors; `table` as well.
        seconds: that a server may take for an answer.
    """

    def __init__(self, engine: Callable[[], Engine], *, table: str, connection: str, seconds: float) -> None:
        self.bounded = Bounded(seconds)
        self._engine = engine
        self._table = table
        self._connection = connection
        self._is_file = engine().dialect.name == "sqlite"

    def asked(self, ask: Callable[[Any], T], own: OwnConnection) -> T:
        """Call the database by a connection of the worker's."""

        def once() -> T:
            connection = own.get()
            if self._is_file:
                own.is_used = True
                try:
                    return ask(connection)
                finally:
                    own.is_used = False
            with self.bounded.within(connection):
                return ask(connection)

        return self.repeated(once, own)

    def repeated(self, act: Callable[[], T], own: OwnConnection | None = None) -> T:
        """Again, where another transaction stood in the way, which SQLite has waited for already."""
        for left in reversed(range(1 if self._is_file else TRIES)):
            try:
                with self.explained(own):
                    return act()
            except Unavailable as error:
                if not left or has_waited(error) or not SqlAlchemyErrors().is_deadlock(error):
                    raise
                time.sleep(0.001 * 4 ** (TRIES - left))
        raise AssertionError("unreachable")

    @contextmanager
    def explained(self, own: OwnConnection | None) -> Iterator[None]:
        """Errors as those of the framework. The worker's connection is another one after each."""
        try:
            yield
        except (SQLAlchemyError, self._dbapi_error(), OSError) as error:
            is_broken = own is not None and not self._is_file and not own.is_open and not is_refused_login(error)
            if own is not None:
                own.drop()
            raise refusal(
                error, table=self._table, connection=self._connection, is_broken=is_broken or isinstance(error, OSError)
            ) from error
        except UnicodeDecodeError as error:
            raise QueueError(
                f"The connection {self._connection!r} takes payloads of UTF-8 only, and this one is none: {error}."
            ) from error
        except BaseException:
            if own is not None:
                own.drop()  # who knows what was under way
            raise

    def _dbapi_error(self) -> type[Exception]:
        dbapi: Any = self._engine().dialect.dbapi
        error: type[Exception] = dbapi.Error
        return error

    @contextmanager
    def within(self, connection: Connection) -> Iterator[None]:
        if self._is_file:
            yield
            return
        with self.bounded.within(connection.connection.driver_connection):
            yield
