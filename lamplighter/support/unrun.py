"""Work that a call has returned instead of doing it: a coroutine or a generator that somebody would have to run."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TypeGuard

from lamplighter.errors import HandlerError, LamplighterError

LAZY = (Generator, AsyncGenerator, map, filter)
AWAIT = "Run it there, by `asyncio.run(...)`, before it returns."
ITERATE = "Iterate it there, before it returns."


def is_awaitable(value: object) -> TypeGuard[Awaitable[object]]:
    """Whether a value is to be awaited; only its type is looked at, so that no code of a proxy runs."""
    return issubclass(type(value), Awaitable)


async def finish(work: Awaitable[object]) -> object:
    """Await it, and the coroutine that it gives, if that is what it gives; the value behind them.

    Of other awaitables only the first is awaited: clients of services give themselves, again and again.
    """
    value = await work
    while inspect.iscoroutine(value):
        value = await value
    return value


def refuse_unrun(value: object, name: str, error: type[LamplighterError] = HandlerError) -> None:
    """Raise `error` where `name` has returned work that is still to be done; any other value is ignored.

    Whoever calls this drops the value, and the work with it. A task or a future is at work already.
    """
    if is_awaitable(value) and not issubclass(type(value), asyncio.Future):
        discard(value)
        raise error(f"{name} has returned {_kind(value)}, which nobody awaits: its work would not be done. {AWAIT}")
    refuse_lazy(value, name, error)


def refuse_lazy(value: object, name: str, error: type[LamplighterError] = HandlerError) -> None:
    """Raise `error` where `name` has returned what only its iteration would run; any other value is ignored."""
    if issubclass(type(value), LAZY):
        raise error(f"{name} has returned {_kind(value)}, which nobody iterates: its work would not be done. {ITERATE}")


def refuse_lazy_function(function: Callable[..., object], name: str, error: type[LamplighterError]) -> None:
    """Raise `error` where a call of `function` would do nothing, as far as that can be seen without calling it."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise error(f"{name} is async; it is called and not awaited. {AWAIT}")
    if inspect.isgeneratorfunction(function):
        raise error(f"{name} is a generator; it is called and not iterated. {ITERATE}")


def discard(value: object) -> None:
    """Close a coroutine that will never be started; without this Python warns that it was never awaited."""
    if inspect.iscoroutine(value) and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
        value.close()


def name_of(function: object) -> str:
    """Where a function is defined, for messages."""
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
