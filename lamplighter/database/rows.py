"""A table of the framework's own: short transactions, and errors that say what to do."""

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.exc import DBAPIError

from lamplighter.contracts import Databases, Headers
from lamplighter.database.bounds import begun
from lamplighter.database.errors import SqlAlchemyErrors, is_missing_table
from lamplighter.database.sqlite import ANY_TEXT, READ_ONLY
from lamplighter.errors import MigrationError, Unavailable

log = logging.getLogger(__name__)

UNREADABLE = "x-unreadable-headers"


class Rows:
    """The rows of one table, each time in a transaction of their own.

    Reading and writing raise MigrationError while the table is not there, and Unavailable while no database answers.
    """

    def __init__(
        self, databases: Databases, database: str | None, table: Table, *, kept: str, or_else: str = ""
    ) -> None:
        """`kept` names what the table keeps; `or_else` is what may be done instead of migrating.

        Raises:
            ConfigError: there is no such connection, which must not be found out when something has to be kept.
        """
        databases.engine(database)
        self._databases = databases
        self._database = database
        self._table = table
        self._kept = kept
        self._or_else = or_else

    @property
    def is_sqlite(self) -> bool:
        """Whether a value of any type may stand in any column."""
        return bool(self._databases.engine(self._database).dialect.name == "sqlite")

    def is_there(self) -> bool:
        """Whether the table is there; looking makes no SQLite file."""
        engine = self._databases.engine(self._database)
        file = engine.url.database
        if engine.dialect.name == "sqlite" and file and file != ":memory:" and not Path(file).exists():
            return False
        with self._explained(), engine.connect() as connection:
            return bool(inspect(connection.execution_options(**READ_ONLY)).has_table(self._table.name))

    def read(self, query: Any) -> list[Any]:
        """What a query finds, each row by the names of its columns."""
        with self._explained(), self._databases.engine(self._database).connect() as connection:
            return list(connection.execution_options(**READ_ONLY, **ANY_TEXT).execute(query).mappings())

    @contextmanager
    def transaction(self, *, timeout: float | None = None) -> Iterator[Connection]:
        """A transaction, committed at its end; no statement of it waits for others longer than `timeout` seconds."""
        engine = self._databases.engine(self._database)
        with (
            self._explained(),
            engine.connect().execution_options(**ANY_TEXT) as connection,
            begun(connection, timeout=timeout),
        ):
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if is_missing_table(error):
                raise MigrationError(
                    f"The table {self._table.name} of the {self._kept} is not there; run `migrate`{self._or_else}."
                ) from error
            if SqlAlchemyErrors().is_lost_connection(error):
                reason = " ".join(str(error.orig).split())
                raise Unavailable(f"The database that keeps the {self._kept} does not answer: {reason}") from error
            raise


def dump_headers(headers: Headers) -> str | None:
    """Headers as a column of text; None where there are none."""
    pairs = [(name, None if value is None else base64.b64encode(value).decode()) for name, value in headers]
    return json.dumps(pairs) if pairs else None


def load_headers(text: str | None) -> Headers:
    """The headers of such a column; text of another shape is the value of one header, `x-unreadable-headers`."""
    if not text:
        return ()
    try:
        return [_header(pair) for pair in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        log.warning("the headers of a row can't be read; they are kept as one", extra={"header": UNREADABLE})
        return [(UNREADABLE, text.encode("utf-8", "surrogatepass"))]


def _header(pair: object) -> tuple[str, bytes | None]:
    """A pair of a name and a value; ValueError or TypeError for what is none, or can't be sent."""
    if not isinstance(pair, list):
        raise TypeError(pair)
    name, value = pair
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(name)
    name.encode()
    return name, None if value is None else base64.b64decode(value, validate=True)
