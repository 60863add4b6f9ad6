"""What a function needs, read from the annotations of its parameters."""

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MISSING = inspect.Parameter.empty  # the default of a parameter that has none


@dataclass(frozen=True, slots=True)
class Need:
    """One parameter of a function: what it is called and which types would do, the first one first."""

    name: str
    kinds: tuple[Any, ...]
    default: Any
    allows_none: bool


def read_needs(function: Callable[..., Any]) -> tuple[Need, ...]:
    """The parameters of a function or of a class's constructor that are still to be given.

    Raises:
        ValueError, TypeError, NameError: its annotations can't be read.
    """
    partial = isinstance(function, functools.partial)
    target = _annotated(function.func if partial else function)  # type: ignore[attr-defined]
    if target is object.__init__:
        return ()
    parameters = list(inspect.signature(function if partial else target).parameters.values())
    hints = typing.get_type_hints(target)
    if isinstance(function, type):
        parameters = parameters[1:]
    if partial:
        parameters = [each for each in parameters if each.name not in function.keywords]  # type: ignore[attr-defined]
    skipped = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(
        _need(parameter, hints.get(parameter.name, MISSING))
        for parameter in parameters
        if parameter.kind not in skipped
    )


def _annotated(function: Any) -> Any:
    """Where the annotations of something that can be called stand."""
    if isinstance(function, type):
        return function.__init__  # type: ignore[misc]
    return function if inspect.isroutine(function) else function.__call__


def _need(parameter: inspect.Parameter, hint: Any) -> Need:
    if hint is MISSING:
        kinds: tuple[Any, ...] = ()
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = typing.get_args(hint)
    else:
        kinds = (hint,)
    allows_none = type(None) in kinds
    return Need(parameter.name, tuple(kind for kind in kinds if kind is not type(None)), parameter.default, allows_none)
