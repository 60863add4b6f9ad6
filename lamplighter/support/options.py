"""Turns a section of the configuration into a frozen dataclass."""

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar

from lamplighter.errors import ConfigError
from lamplighter.support.strings import is_utf8

T = TypeVar("T")

_REFUSED = object()


def parse_options(cls: type[T], values: Mapping[str, object], *, where: str | Callable[[str], str]) -> T:
    """An instance of `cls`; text from the environment is read as what its field needs.

    Args:
        where: the file that the values come from, or what tells it for a key.

    Raises:
        ConfigError: a key is unknown, missing or ill-typed; it names the file, the key and what is known.
    """
    place = where if callable(where) else lambda key: where
    if not isinstance(values, Mapping):
        raise ConfigError(f"{place('')} has to be a dictionary of settings, and is {_given(values)}.")
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"{place(key)} has the unknown key {key!r}; it knows {', '.join(sorted(known))}.")
    parsed = {key: _parse(value, hints[key], place, key) for key, value in values.items()}
    for name, field in known.items():
        if name not in parsed and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{place(name)} needs the key {name!r}.")
    return cls(**parsed)


def _parse(value: object, hint: Any, place: Callable[[str], str], key: str) -> Any:
    parsed = _read(value, hint)
    if parsed is _REFUSED:
        # Never the value itself, which may be a secret.
        is_word = isinstance(value, str) and value != "" and _is_utf8(value) and _is_choice(hint)
        is_list = isinstance(value, list | tuple) and _is_utf8(value) and typing.get_origin(hint) is tuple
        given = "another word" if is_word else "other items" if is_list else _given(value)
        raise ConfigError(f"{place(key)} has {given} for the key {key!r}, which takes {_name(hint)}.")
    return parsed


def _is_choice(hint: Any) -> bool:
    """Whether nothing but certain words is taken, or nothing at all."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return all(kind is type(None) or typing.get_origin(kind) is Literal for kind in kinds)


def _given(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value == "":
        return "an empty text"
    if not _is_utf8(value):
        return "a text that is no UTF-8"
    return "null" if value is None else f"a {type(value).__name__}"


def _is_utf8(value: object) -> bool:
    """Whether every text of a value is one that can leave this process."""
    if isinstance(value, Mapping):
        return all(_is_utf8(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_utf8, value))
    return not isinstance(value, str) or is_utf8(value)


def _read(value: object, hint: Any) -> Any:
    if not _is_utf8(value):
        return _REFUSED
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value == "" and type(None) in arguments and str not in arguments:
            return None
        return next((found for kind in arguments if (found := _read(value, kind)) is not _REFUSED), _REFUSED)
    if origin is Literal:
        return value if any(value == known and type(value) is type(known) for known in arguments) else _REFUSED
    if origin is tuple:
        items = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            return _REFUSED
        found = tuple(_read(item, arguments[0]) for item in items)
        return _REFUSED if _REFUSED in found else found
    if origin is not None:
        return dict(value) if isinstance(value, Mapping) else _REFUSED
    return _scalar(value, hint)


def _scalar(value: object, hint: Any) -> Any:
    if hint is Any:
        return value
    if hint is type(None):
        return None if value is None else _REFUSED
    if hint is float:
        return _number(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    if isinstance(value, str) and hint is int:
        try:
            return int(value)
        except ValueError:
            return _REFUSED
    if isinstance(value, str) and hint is bool and value in ("0", "1"):
        return value == "1"
    return _REFUSED


def _number(value: object) -> Any:
    """A number that can be counted with: neither NaN nor an infinity is a time or a size."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _REFUSED
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return _REFUSED
    return number if math.isfinite(number) else _REFUSED


def _name(hint: Any) -> str:
    """A type as people say it: `float or False`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(word for kind in arguments for word in _name(kind).split(" or ")))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if hint is type(None):
        return "null"
    if origin is tuple:
        return f"a list of {_name(arguments[0])}"
    if origin is not None:
        return "a dictionary"
    return str(getattr(hint, "__name__", hint))
