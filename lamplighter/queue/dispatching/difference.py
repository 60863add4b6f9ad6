"""Where a value that has travelled as JSON differs from the one that was sent."""

import dataclasses
import math
import re
from collections.abc import Collection, Iterable
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec

ZERO = timedelta()
PLAIN = frozenset({int, str, float, bool, type(None)})
SHOWN_KEY = re.compile(r"[A-Za-z_][\w-]{0,39}")  # a name; other keys may be anybody's data

Steps = tuple[Any, ...]  # where a value is: (steps of what holds it, its own step), () for the whole
Pair = tuple[Steps, Any, Any]


def difference(sent: object, came: object, root: str, *, by_type: bool = True) -> str | None:
    """What is lost or changed, in words that name the place and no value; None where all has arrived.

    A list and a tuple are one to JSON, as are a set and a frozenset, and an int may arrive as the float or Decimal that
    a field takes; everything else has to come back as the type that it was.

    Args:
        root: how messages call the whole; "" where it is an object whose keys are the names.
        by_type: False for builtin types alone, whose keys JSON makes text.
    """
    left: list[Pair] = [((), sent, came)]
    while left:
        steps, sent, came = left.pop()
        if sent is came or is_plainly_same(sent, came):
            continue
        parts = _parts(steps, sent, came, by_type=by_type)
        if isinstance(parts, str):
            return f"{_place(root, steps)} {parts}"
        if parts is not None:
            left.extend(reversed(list(parts)))
        elif not _is_same(sent, came):
            return f"{_place(root, steps)} {_told(sent, came)}"
    return None


def is_plainly_same(sent: Any, came: Any) -> bool:
    """Whether two values are the same without a look at each of their parts; False says nothing."""
    kind = type(sent)
    if kind is not type(came):
        return False
    if kind in PLAIN:
        return bool(sent == came)
    if kind is list or kind is tuple:
        return _are_plain(sent, came) and bool(sent == came)
    if kind is dict:
        # A key that is equal to text or a number is the same to a job; one that is equal to a date may be another.
        are_plain = PLAIN.issuperset(map(type, came)) and _are_plain(sent.values(), came.values())
        return are_plain and bool(sent == came)
    return False


def _are_plain(sent: Iterable[object], came: Iterable[object]) -> bool:
    kinds = set(map(type, came))
    return kinds <= PLAIN and kinds == set(map(type, sent))


def _parts(steps: Steps, sent: Any, came: Any, *, by_type: bool) -> Iterable[Pair] | str | None:
    """The pairs that two values are made of; what is wrong where there can be none, None where they have no parts."""
    if _is_row(sent) and _is_row(came):
        if len(sent) != len(came):
            return f"has {len(sent)} elements, of which {len(came)} would arrive"
        return (((steps, place), *pair) for place, pair in enumerate(zip(sent, came, strict=True)))
    if isinstance(sent, dict) and type(came) is dict:
        return _entries(steps, sent, came, by_type=by_type)
    if isinstance(sent, set | frozenset) and isinstance(came, set | frozenset):
        return _equals(steps, sent, came) if sent == came else None
    if type(sent) is not type(came):
        return None
    names = _names(sent)
    return None if names is None else (((steps, name), getattr(sent, name), getattr(came, name)) for name in names)


def _entries(steps: Steps, sent: dict[Any, Any], came: dict[Any, Any], *, by_type: bool) -> Iterable[Pair] | str:
    if len(sent) != len(came):
        return f"has {len(sent)} keys, of which {len(came)} would arrive"
    if sent.keys() == came.keys():
        told = _told_of_keys(sent, came) if by_type else None
        return told or (((steps, key), value, came[key]) for key, value in sent.items())
    if not by_type:  # both are in one order
        return (((steps, key), value, came[key]) for (_, value), key in zip(sent.items(), came, strict=True))
    for key, other in zip(sent, came, strict=True):
        if key != other:
            return f"has a key of type {_kind(key)}, which would arrive as {_kind(other)}"
    return "has keys that would not arrive"


def _told_of_keys(sent: Iterable[Any], came: Iterable[Any]) -> str | None:
    """What is lost of a key though it is equal to the one that came; None where nothing is."""
    arrived = {key: key for key in came}
    for key in sent:
        other = arrived[key]
        if key is not other and not is_plainly_same(key, other) and not _is_same(key, other):
            return f"has a key that {_told(key, other)}"
    return None


def _equals(steps: Steps, sent: Collection[Any], came: Iterable[Any]) -> Iterable[Pair] | None:
    """The pairs of equal elements; None where nothing but their types may differ."""
    if PLAIN.issuperset(map(type, sent)):
        return None
    own = {one: one for one in came}
    return (((steps, None), one, own[one]) for one in sent)


def _is_row(value: object) -> bool:
    return isinstance(value, list) or type(value) is tuple


def _names(value: Any) -> Iterable[str] | None:
    """The fields of a value that has some."""
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]


def _is_same(sent: Any, came: Any) -> bool:
    if isinstance(sent, set | frozenset) and isinstance(came, set | frozenset):
        kinds = set(map(type, came))
        return bool(sent == came) and all(_becomes(kind, kinds) for kind in set(map(type, sent)))
    if _loses_zone(sent):
        return False
    if isinstance(came, Decimal):
        # By its digits: 1.50 is not 1.5, and a NaN equals nothing.
        return sent.as_tuple() == came.as_tuple() if isinstance(sent, Decimal) else type(sent) is int and sent == came
    if type(came) is float:
        return type(sent) in (int, float) and bool(sent == came)
    if (
        isinstance(sent, datetime)
        and isinstance(came, datetime)
        and sent.tzinfo is not None
        and came.tzinfo is not None
    ):
        # By the moment: in an hour that a zone has twice, times of two zones equal each other never. That moment in
        # UTC may be beyond the calendar.
        clocks = sent.replace(tzinfo=None) - came.replace(tzinfo=None)
        return clocks == (sent.utcoffset() or ZERO) - (came.utcoffset() or ZERO)
    if _is_second_hour(sent):
        return False
    return type(sent) is not bool and isinstance(sent, type(came)) and bool(sent == came)


def _is_second_hour(value: object) -> bool:
    """Whether it stands in the second of two hours that a clock shows alike, where nothing but `fold` says so."""
    # A time without a date is no moment, so that none is lost.
    return isinstance(value, datetime) and value.fold == 1 and value.utcoffset() is None


def _loses_zone(value: object) -> bool:
    """Whether it has a timezone, of which nothing would arrive: one without a fixed offset, at no date."""
    # Python takes it for equal to the time without a timezone.
    return isinstance(value, time | datetime) and value.tzinfo is not None and value.utcoffset() is None


def _becomes(sent: type, came: Iterable[type]) -> bool:
    """Whether an element of a set, which is equal to one that came, may have become that."""
    return any(issubclass(sent, kind) or (sent is int and kind in (float, Decimal)) for kind in came)


def _told(sent: object, came: object) -> str:
    if isinstance(sent, float) and not math.isfinite(sent):
        return f"is {sent}, which JSON has no number for"
    if _is_second_hour(sent):
        return "is a datetime with fold=1 and no timezone, and would arrive an hour earlier: give it a timezone"
    if _loses_zone(sent):
        kind = _kind(sent)
        return f"is a {kind} in a timezone that has no offset for it, and would arrive without one: take an offset"
    if type(sent) is type(came):
        return f"is of type {_kind(sent)} and would arrive with another value"
    return f"is of type {_kind(sent)} and would arrive as {_kind(came)}"


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__qualname__


def _place(root: str, steps: Steps) -> str:
    words: list[str] = []
    while steps:
        steps, step = steps
        if isinstance(step, int) and not isinstance(step, bool):
            words.append(f"[{step}]")
        else:
            words.append(f".{step}" if isinstance(step, str) and SHOWN_KEY.fullmatch(step) else "[...]")
    return f"`{(root + ''.join(reversed(words))).removeprefix('.')}`"
