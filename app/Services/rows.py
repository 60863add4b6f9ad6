"""Reads and writes rows; each function is one statement where the database allows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Connection,
    Executable,
    Select,
    Table,
    bindparam,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from lamplighter.database.statements import Statements
from lamplighter.queue.jobs.payload import MAX_BYTES

COUNTED = {"preserve_rowcount": True}
STAMP = "%Y-%m-%d %H:%M:%S"
MYSQL = ("mysql", "mariadb")  # whose count of a row that was there already is that of a new one
AT_ONCE = 100  # rows of a page that are read by one statement


@dataclass(frozen=True, slots=True)
class Create:
    """A row that is to be there: its key, and all else that the client may set."""

    table: Table
    key: Mapping[str, str]
    values: Mapping[str, Any]


class Rows:
    """The rows of one database, with times in the application's zone: the present, or `at`.

    Each method is one transaction, which is over when it returns: an answer may wait for the broker.
    """

    def __init__(self, statements: Statements, zone: ZoneInfo, *, at: datetime | None = None) -> None:
        self._statements = statements
        self._zone = zone
        self._at = at

    def as_of(self, at: datetime | None) -> "Rows":
        """The same rows, written as at that time; at the present without one, or with one that no calendar has here."""
        try:
            at = at and at.astimezone(self._zone)
        except OverflowError:  # the last hours of the year 9999, which a sender may have written
            at = None
        return Rows(self._statements, self._zone, at=at)

    def create(self, create: Create) -> dict[str, Any]:
        """Insert a row, or find the one that has its key already; the row as it is now, committed."""
        row = {**create.values, **create.key, **self._stamps(create.table, "created", "updated")}
        with self._statements.connection() as connection:
            statement = _insert(create.table, connection.dialect.name)
            written = connection.execute(statement, row, execution_options=COUNTED).rowcount
            is_ours = written == 1 and connection.dialect.name not in MYSQL
            return presented(create.table, row if is_ours else _written(connection, create))

    def create_many(self, creates: Sequence[Create]) -> list[dict[str, Any]]:
        """The same for many rows in one transaction, and in one statement for each table."""
        if not creates:
            return []  # without a look at the database, as a single one that is refused
        found: dict[int, dict[str, Any]] = {}
        with self._statements.engine.begin() as connection:
            for table in dict.fromkeys(create.table for create in creates):
                stamps = self._stamps(table, "created", "updated")
                rows = {
                    place: {**create.values, **create.key, **stamps}
                    for place, create in enumerate(creates)
                    if create.table is table
                }
                written = connection.execute(
                    _insert(table, connection.dialect.name), list(rows.values()), execution_options=COUNTED
                ).rowcount
                for place, row in rows.items():
                    # The database tells how many it has written, not which: all, or each is looked up.
                    is_ours = written == len(rows) and connection.dialect.name not in MYSQL
                    found[place] = presented(table, row if is_ours else _written(connection, creates[place]))
        return [found[place] for place in range(len(creates))]

    def update(self, table: Table, id: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Change the named columns; the row as it is now, committed; None when there is no such row."""
        if not values:
            return self.find(table, id)
        changes = {**values, **self._stamps(table, "updated")}
        statement = update(table).where(table.c.id == id).values(changes)
        if self._statements.engine.dialect.update_returning:
            with self._statements.connection() as connection:
                row = connection.execute(statement.returning(table)).mappings().one_or_none()
                return None if row is None else presented(table, row)
        with self._statements.engine.begin() as connection:
            connection.execute(statement)
            return _find(connection, table, {"id": id})

    def find(self, table: Table, id: str) -> dict[str, Any] | None:
        """One row; None when there is none."""
        with self._statements.connection() as connection:
            return _find(connection, table, {"id": id})

    def page(self, table: Table, *, after: tuple[str, ...] | None, limit: int) -> list[dict[str, Any]]:
        """The rows behind a key, in the bytewise order of their keys: up to `limit`, or as many as an answer may hold.

        Not all in one statement, since hundreds of the longest texts would not fit into memory.
        """
        found: list[dict[str, Any]] = []
        letters = 0
        with self._statements.connection() as connection:
            while len(found) < limit and letters < MAX_BYTES:
                wanted = min(limit - len(found), AT_ONCE)
                query = _behind(table, after).limit(wanted)
                rows = [presented(table, row) for row in connection.execute(query).mappings()]
                found += rows
                if len(rows) < wanted:
                    break
                letters += sum(map(_letters, rows))
                after = tuple(rows[-1][column.name] for column in table.primary_key.columns)
        return found

    def is_empty(self, table: Table) -> bool:
        """Whether a table has no row at all."""
        with self._statements.connection() as connection:
            return connection.execute(select(literal(1)).select_from(table).limit(1)).first() is None

    def _stamps(self, table: Table, *names: str) -> dict[str, datetime]:
        stamped = [name for name in names if name in table.c]
        if not stamped:
            return {}
        moment = datetime.now(self._zone) if self._at is None else self._at.astimezone(self._zone)
        now = moment.replace(tzinfo=None, microsecond=0)
        return dict.fromkeys(stamped, now)


def _behind(table: Table, after: tuple[str, ...] | None) -> Select[Any]:
    columns = list(table.primary_key.columns)
    query = select(table).order_by(*columns)
    if after is None:
        return query
    return query.where(tuple_(*columns) > tuple_(*after) if len(columns) > 1 else columns[0] > after[0])


def _letters(row: Mapping[str, Any]) -> int:
    """How many letters a row has: the bytes that it takes in an answer at least."""
    return sum(len(value) for value in row.values() if isinstance(value, str))


def _find(connection: Connection, table: Table, key: Mapping[str, str]) -> dict[str, Any] | None:
    row = connection.execute(_select(table), key).mappings().one_or_none()
    return None if row is None else presented(table, row)


def _written(connection: Connection, create: Create) -> Mapping[Any, Any]:
    """The row that an insert has met."""
    return connection.execute(_select(create.table), create.key).mappings().one()


def presented(table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as answers carry it: in the table's order, times as text."""
    return {column.name: _presented(row.get(column.name)) for column in table.columns}


def _presented(value: Any) -> Any:
    return value.strftime(STAMP) if isinstance(value, datetime) else value


@cache
def _insert(table: Table, dialect: str) -> Executable:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    if dialect in MYSQL:
        # IGNORE would store what does not fit as something else.
        key = table.primary_key.columns
        return mysql.insert(table).on_duplicate_key_update({column.name: column for column in key})
    return insert(table)


@cache
def _select(table: Table) -> Executable:
    query = select(table)
    for column in table.primary_key.columns:
        query = query.where(column == bindparam(column.name))
    return query
