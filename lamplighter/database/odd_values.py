"""Values that a column can't have by its type, and yet has: SQLite keeps a value of any type in any column."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, cast, or_
from sqlalchemy.types import TypeDecorator

A_NAME = re.compile(
    r"(?!all\Z)[0-9A-Za-z_][0-9A-Za-z_.:@+-]*"
)  # what can be typed in a shell, and is no option nor the word for all rows
MOST = 255  # characters that are told of a value
A_BLOB = re.compile(r"x'((?:[0-9A-Fa-f]{2})*)'")  # as SQL writes bytes


class AsStored(TypeDecorator[Any]):
    """A column whose values are read as the database has them: no single value stops the rows beside it."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, type_: Any) -> None:
        super().__init__()
        self.type_ = type_

    def load_dialect_impl(self, dialect: Any) -> Any:
        """The type by which values are written and compared."""
        return dialect.type_descriptor(self.type_)

    def result_processor(self, dialect: Any, coltype: Any) -> None:
        """None: nothing is made of a value."""
        return


def any_text(value: bytes) -> str:
    """Text of SQLite, be it UTF-8 or not."""
    return value.decode("utf-8", "surrogateescape")


def kind_of(value: object) -> str:
    """What a value is in SQL's words, for an error's text."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "TEXT"
    if isinstance(value, int | float):
        return "a number"
    return "a BLOB" if isinstance(value, bytes) else type(value).__name__


def told(value: object) -> str:
    """A value as text that every screen and every encoding takes."""
    if value is None:
        return ""
    text = any_text(value) if isinstance(value, bytes) else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MOST])


def id_of(value: object) -> str:
    """An id as it is told and typed: what is none, `x'ff'` or an empty text, is written as SQL writes bytes."""
    if isinstance(value, str) and A_NAME.fullmatch(value):
        return value
    return f"x'{_bytes(value).hex()}'"


def has_id(column: ColumnElement[Any], ids: Sequence[str], *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a row has one of these ids, as `id_of` has told them."""
    blobs = [bytes.fromhex(match[1]) for match in map(A_BLOB.fullmatch, ids) if match]
    clause = is_one_of(column, list(ids))
    if not blobs:
        return clause
    if is_sqlite:
        return or_(clause, cast(column, LargeBinary).in_(blobs))
    return or_(clause, column.in_([blob.decode("utf-8", "replace") for blob in blobs]))


def is_one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a row has one of these values, which were read as they are stored."""
    blobs = [_bytes(value) for value in values if isinstance(value, str) and not _is_utf8(value)]
    clause = column.in_([value for value in values if not isinstance(value, str) or _is_utf8(value)])
    # No index helps here, and only SQLite has such texts.
    return or_(clause, cast(column, LargeBinary).in_(blobs)) if blobs else clause


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return ("" if value is None else str(value)).encode("utf-8", "surrogateescape")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
