"""Reads a row, or a page of rows."""

from typing import Any

from sqlalchemy import Table

from app.Services.event_job import EventJob
from app.Services.events import INDEX, SELECT, field, query_head, table_of
from app.Services.refusal import invalid, not_found
from app.Services.rows import Rows
from app.Services.tables import PAIR
from app.Services.values import is_storable_id
from lamplighter import Delivery

DEFAULT_LIMIT, MAX_LIMIT = 50, 500


class GetData(EventJob):
    """Read from a table and answer. Safe to run twice: it changes nothing."""

    name = "job.data.get"

    def head(self, delivery: Delivery) -> dict[str, Any]:
        """The query itself, and what it asks for."""
        return query_head(self.data)

    def act(self, rows: Rows, head: dict[str, Any]) -> Any:
        """One row, or a page."""
        table = table_of(self.data)
        kind = head["queryType"]
        if kind == INDEX:
            return self._index(rows, table)
        if kind != SELECT:
            raise invalid(f"Unknown queryType: there are {INDEX}, {SELECT}")
        if table.name == PAIR:
            raise invalid(f"A {PAIR} has no id to select it by: use {INDEX}")
        id = field(self.data, "id")
        row = rows.find(table, id) if is_storable_id(id) else None
        if row is None:
            raise not_found()
        return _typed(table, row)

    def _index(self, rows: Rows, table: Table) -> list[dict[str, Any]]:
        limit = _limit(field(self.data, "limit"))
        after = _after(table, field(self.data, "after"))
        found = rows.page(table, after=after, limit=limit)
        if not found and (after is None or rows.is_empty(table)):
            raise not_found([])
        return [_typed(table, row) for row in found]


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "type": str.__str__(table.name)}


def _limit(value: Any) -> int:
    if value is None:
        return DEFAULT_LIMIT
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 1 <= value <= MAX_LIMIT and value == int(value):
        return int(value)
    raise invalid(f"limit must be a whole number from 1 to {MAX_LIMIT}")


def _after(table: Table, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [column.name for column in table.primary_key.columns]
    parts = value if isinstance(value, list) and len(names) > 1 else [value]
    if len(parts) == len(names) and all(map(is_storable_id, parts)):
        return tuple(parts)
    wanted = f"the list [{', '.join(names)}]" if len(names) > 1 else "an id"
    raise invalid(f"after must be {wanted}")
