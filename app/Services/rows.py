"""Reads and writes rows; each function is one statement where the database allows it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Executable, Table, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from lamplighter.database.manager import READ_ONLY

COUNTED = {"preserve_rowcount": True}
STAMP = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Create:
    """A row that is to be there: its key, and all else that the client may set."""

    table: Table
    key: Mapping[str, str]
    values: Mapping[str, Any]


class Rows:
    """The rows of one session, with times in the application's zone: the present, or `at`."""

    def __init__(self, session: Session, zone: ZoneInfo, *, at: datetime | None = None) -> None:
        self._session = session
        self._zone = zone
        self._at = at

    def create(self, create: Create) -> dict[str, Any]:
        """Insert a row, or find the one that has its key already; the row as it is now, committed."""
        table, key, row = create.table, create.key, self._row(create)
        dialect = self._session.get_bind().dialect.name
        written = self._session.execute(_insert(table, dialect), row).rowcount == 1  # type: ignore[attr-defined]
        if written:
            self._session.commit()
            return presented(table, row)
        found = self._find(table, key)
        self._session.commit()
        assert found is not None  # the insert met it
        return found

    def create_many(self, creates: Sequence[Create]) -> list[dict[str, Any]]:
        """The same for many rows in one transaction, and in one statement for each table."""
        dialect = self._session.get_bind().dialect.name
        rows = [self._row(create) for create in creates]
        found: dict[int, dict[str, Any]] = {}
        for table in dict.fromkeys(create.table for create in creates):
            places = [place for place, create in enumerate(creates) if create.table is table]
            written = self._session.execute(
                _insert(table, dialect), [rows[place] for place in places], execution_options=COUNTED
            ).rowcount  # type: ignore[attr-defined]
            for place in places:
                # The database tells how many it has written, not which: all, or each is looked up.
                row = rows[place] if written == len(places) else self._written(creates[place])
                found[place] = presented(table, row)
        self._session.commit()
        return [found[place] for place in range(len(creates))]

    def update(self, table: Table, id: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Change the named columns; the row as it is now, committed; None when there is no such row."""
        key = {"id": id}
        if values:
            changes = {**values, **self._stamps(table, "updated")}
            changed = self._session.execute(update(table).where(table.c.id == id).values(changes))
            if changed.rowcount == 0:  # type: ignore[attr-defined]
                self._session.rollback()
                return None
        found = self._find(table, key)
        self._session.commit()
        return found

    def find(self, table: Table, id: str) -> dict[str, Any] | None:
        """One row; None when there is none."""
        with self._reading():
            return self._find(table, {"id": id})

    def page(self, table: Table, *, after: tuple[str, ...] | None, limit: int) -> list[dict[str, Any]]:
        """The rows behind a key, in the bytewise order of their keys."""
        columns = list(table.primary_key.columns)
        query = select(table).order_by(*columns).limit(limit)
        if after is not None:
            is_behind = tuple_(*columns) > tuple_(*after) if len(columns) > 1 else columns[0] > after[0]
            query = query.where(is_behind)
        with self._reading():
            return [presented(table, row) for row in self._session.execute(query).mappings()]

    def is_empty(self, table: Table) -> bool:
        """Whether a table has no row at all."""
        with self._reading():
            return self._session.execute(select(table).limit(1)).first() is None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        # On SQLite it neither waits for the one writer nor keeps others from writing; and it is over before the
        # answer waits for the broker.
        self._session.connection(execution_options=READ_ONLY)
        try:
            yield
        finally:
            self._session.rollback()

    def _row(self, create: Create) -> dict[str, Any]:
        return {**create.values, **create.key, **self._stamps(create.table, "created", "updated")}

    def _written(self, create: Create) -> Mapping[Any, Any]:
        return self._session.execute(_select(create.table), create.key).mappings().one()

    def _find(self, table: Table, key: Mapping[str, str]) -> dict[str, Any] | None:
        row = self._session.execute(_select(table), key).mappings().one_or_none()
        return None if row is None else presented(table, row)

    def _stamps(self, table: Table, *names: str) -> dict[str, datetime]:
        moment = datetime.now(self._zone) if self._at is None else self._at.astimezone(self._zone)
        now = moment.replace(tzinfo=None, microsecond=0)
        return {name: now for name in names if name in table.c}


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
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(table).prefix_with("IGNORE")
    return insert(table)


@cache
def _select(table: Table) -> Executable:
    query = select(table)
    for column in table.primary_key.columns:
        query = query.where(column == bindparam(column.name))
    return query
