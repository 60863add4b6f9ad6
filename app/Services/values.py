"""Whether values fit their columns."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Column, String, Table, Text

from app.Services.refusal import Refusal, invalid

SERVER_SETS = frozenset({"id", "created", "updated"})
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
BOOLEANS: Mapping[str, bool] = {"1": True, "true": True, "0": False, "false": False}
MAX_ID = 36


def as_object(value: object) -> dict[str, Any] | None:
    """A JSON object, or PHP's empty list in its place; None for anything else."""
    if value == [] and isinstance(value, list):
        return {}
    return value if isinstance(value, dict) else None


def is_storable_id(value: object) -> bool:
    """Whether a row can have this id."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID and UNSTORABLE.search(value) is None


def checked(table: Table, values: object, *, creating: bool) -> dict[str, Any]:
    """The values of those columns that the client may set, as the database takes them; unknown ones are dropped.

    Raises:
        Refusal: 422, naming the fields that are missing and what is wrong with others.
    """
    sent = as_object(values)
    if sent is None:
        raise _refused("values must be an object", values)
    missing, wrong, fitting = [], [], {}
    for column in client_columns(table):
        name = column.name
        value = sent.get(name)
        if creating and value in (None, "") and not isinstance(value, bool) and _is_required(column):
            missing.append(name)
        elif creating and value is None:
            fitting[name] = False if isinstance(column.type, Boolean) else None
        elif name in sent:
            fitting[name], problem = _fit(column, value)
            if problem:
                wrong.append(f"{name} {problem}")
    if missing or wrong:
        parts = [f"Missing required fields: {'; '.join(missing)}"] if missing else []
        raise _refused(". ".join([*parts, *(["; ".join(wrong)] if wrong else [])]), values)
    return fitting


@cache
def client_columns(table: Table) -> tuple[Column[Any], ...]:
    """The columns that a client may set, in the table's order."""
    return tuple(column for column in table.columns if column.name not in SERVER_SETS)


def _refused(message: str, values: object) -> Refusal:
    return invalid(message, {"code": 422, "message": message, "fields": values})


def _is_required(column: Column[Any]) -> bool:
    return not column.nullable and not isinstance(column.type, Boolean)


def _fit(column: Column[Any], value: object) -> tuple[Any, str]:
    """The value as the column takes it, and what is wrong with it, if anything."""
    if value is None:
        return None, "" if column.nullable else "must not be null"
    if isinstance(column.type, Boolean):
        return _fit_boolean(value)
    if not isinstance(value, str):
        return None, "must be text"
    if UNSTORABLE.search(value):
        return None, "has a character that can't be stored"
    limit = None if isinstance(column.type, Text) else _length(column)
    if limit is not None and len(value) > limit:
        return None, f"is longer than {limit} characters"
    return value, ""


def _fit_boolean(value: object) -> tuple[bool | None, str]:
    if isinstance(value, str) and value in BOOLEANS:
        return BOOLEANS[value], ""
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value), ""
    return None, "must be true or false"


def _length(column: Column[Any]) -> int | None:
    return column.type.length if isinstance(column.type, String) else None
