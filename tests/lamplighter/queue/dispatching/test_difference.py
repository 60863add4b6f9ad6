"""Where a value that has travelled differs from the one that was sent."""

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from lamplighter.queue.dispatching.difference import difference

BERLIN = ZoneInfo("Europe/Berlin")
NAN = float("nan")


class Colour(Enum):
    """A choice."""

    RED = "red"


class Word(StrEnum):
    """A choice that is a text."""

    RED = "red"


class Level(IntEnum):
    """A choice that is a number."""

    LOW = 1


class Pair(NamedTuple):
    """A tuple with names."""

    first: int
    second: float


@dataclass(eq=False)
class Item:
    """Equal to nothing but itself, as Python says."""

    price: float | None
    tags: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Special(Item):
    """One of its kind."""


class Point(msgspec.Struct):
    """A struct."""

    x: float | None


def deep(levels: int, inside: object) -> object:
    """A list in a list in a list."""
    for _ in range(levels):
        inside = [inside]
    return inside


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        (1, 1),
        (5, 5.0),
        (5, Decimal(5)),
        (2**64, 2**64),
        (-0.0, -0.0),
        (None, None),
        ((1, 2), [1, 2]),
        ([1, 2], (1, 2)),
        ([1, 2], [1.0, 2.0]),
        ({1, 2}, frozenset({1, 2})),
        ({1, 2}, {1.0, 2.0}),
        ({Word.RED}, {"red"}),
        ({1: "a"}, {1: "a"}),
        ({1: [2]}, {1.0: [2.0]}),
        (OrderedDict(a=1), {"a": 1}),
        (Word.RED, "red"),
        (Level.LOW, 1),
        (Colour.RED, Colour.RED),
        (Pair(1, 2.0), Pair(1, 2.0)),
        (Item(1.5, [(1,)]), Item(1.5, [[1]])),
        (Point(1), Point(1.0)),
        (Decimal("NaN"), Decimal("NaN")),
        (UUID(int=1), UUID(int=1)),
        (datetime(2026, 1, 1), datetime(2026, 1, 1)),
        (
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
            datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2))),
        ),
        (
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=1))),
        ),
        (deep(510, 1), deep(510, 1)),
    ],
)
def test_what_json_and_the_field_keep_is_the_same(sent: object, came: object) -> None:
    assert difference(sent, came, "x") is None


@pytest.mark.parametrize(
    ("sent", "came", "told"),
    [
        (NAN, None, "`x` is nan, which JSON has no number for"),
        (float("-inf"), None, "`x` is -inf, which"),
        ([1.0, NAN], [1.0, None], r"`x\[1\]` is nan"),
        ({"a": {"b": (NAN,)}}, {"a": {"b": [None]}}, r"`x\.a\.b\[0\]` is nan"),
        ({"me@here": NAN}, {"me@here": None}, r"`x\[\.\.\.\]` is nan"),
        (Item(NAN), Item(None), r"`x\.price` is nan"),
        (Item(1, [Point(NAN)]), Item(1, [Point(None)]), r"`x\.tags\[0\]\.x` is nan"),
        (deep(510, NAN), deep(510, None), "is nan"),
        ("2026-01-01", date(2026, 1, 1), "`x` is of type str and would arrive as date"),
        (date(2026, 1, 1), "2026-01-01", "`x` is of type date and would arrive as str"),
        ("5", 5, "str and would arrive as int"),
        (5.0, 5, "float and would arrive as int"),
        (True, 1, "bool and would arrive as int"),
        (True, 1.0, "bool and would arrive as float"),
        (0.5, Decimal("0.5"), "float and would arrive as Decimal"),
        (2**53 + 1, float(2**53), "int and would arrive as float"),
        (Decimal("1.50"), Decimal("1.5"), "Decimal and would arrive with another value"),
        (b"a", "YQ==", "bytes and would arrive as str"),
        (bytearray(b"a"), b"a", "bytearray and would arrive as bytes"),
        (Colour.RED, "red", "Colour and would arrive as str"),
        ("red", Colour.RED, "str and would arrive as Colour"),
        ({1, 2}, [1, 2], "set and would arrive as list"),
        ({0.5}, {Decimal("0.5")}, "set and would arrive with another value"),
        (Pair(1, 2.0), [1, 2.0], "Pair and would arrive as list"),
        (Special(1.0), Item(1.0), "Special and would arrive as Item"),
        ({"price": 1.0}, Item(1.0), "dict and would arrive as Item"),
        ({1: "a"}, {"1": "a"}, "`x` has a key of type int, which would arrive as str"),
        ({1: "a", "1": "b"}, {"1": "b"}, "`x` has 2 keys, of which 1 would arrive"),
        ({"a": 1, "b": 2}, {"a": 1}, "`x` has 2 keys, of which 1"),
        ([1, 2], [1], "`x` has 2 elements, of which 1"),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1), "datetime and would arrive with another value"),
        (
            datetime(1850, 1, 1, tzinfo=BERLIN),  # a zone that counted seconds
            datetime(1850, 1, 1, tzinfo=timezone(timedelta(minutes=53))),
            "datetime and would arrive with another value",
        ),
    ],
)
def test_what_is_lost_or_changed_is_told_with_its_place(sent: object, came: object, told: str) -> None:
    found = difference(sent, came, "x")

    assert found is not None
    assert re.search(told, found), found


def test_no_value_is_told() -> None:
    found = difference({"password": "secret-1", "secret-2@here": 5}, {"password": 5, "secret-2@here": 5}, "")

    assert found == "`password` is of type str and would arrive as int"


def test_keys_may_become_text_where_that_is_asked_for() -> None:
    assert difference({1: "a", 1.5: ["b"]}, {"1": "a", "1.5": ["b"]}, "x", by_type=False) is None
    assert difference({1: NAN}, {"1": None}, "x", by_type=False) == "`x[...]` is nan, which JSON has no number for"
