"""Errors as a job may raise them, of classes that hide anything behind any name, and everything that reads errors."""

import json
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sqlalchemy import exc as alchemy

from lamplighter.database.errors import SqlAlchemyErrors, is_missing_table
from lamplighter.foundation.exceptions import Handler
from lamplighter.kafka.deadletters.letter import MAX_NAME, write
from lamplighter.kafka.scheduling.failures import failure_of, text_of
from lamplighter.logging.formatters import JsonFormatter, LineFormatter
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.trace import MAX_BYTES, add_note, format_trace, message, notes_of, one_line, tellable
from lamplighter.queue.pools.process.child import describe
from lamplighter.queue.pools.process.wire import Error
from lamplighter.queue.worker.verdicts import ErrorElsewhere
from lamplighter.support.foreign import base_names, chain_of, name_of, path_of
from tests.lamplighter.hostile import EXAMPLES, ODD_TEXTS


class Leaves(BaseException):
    """Is no Exception."""


class OddText(str):
    """A text that refuses to be used as one."""

    def _refuse(self, *_: object) -> NoReturn:
        raise ZeroDivisionError

    __eq__ = __format__ = __str__ = lower = startswith = partition = _refuse
    __hash__ = str.__hash__


class OddNumber(int):
    """A number that refuses to be used as one."""

    def _refuse(self, *_: object) -> NoReturn:
        raise ZeroDivisionError

    __eq__ = __and__ = __int__ = __index__ = __bool__ = _refuse
    __hash__ = int.__hash__


class Odd:
    """What refuses everything that can be refused."""

    def _leave(self, *_: object) -> NoReturn:
        raise SystemExit(3)

    __str__ = __repr__ = __eq__ = __bool__ = __iter__ = __len__ = __getattr__ = _leave
    __hash__ = object.__hash__


def refuses(kind: type[BaseException]) -> property:
    """What raises whenever it is looked at."""

    def look(_: object) -> NoReturn:
        raise kind

    return property(look)


def refuses_later(kind: type[BaseException], times: int) -> property:
    """What raises when it has been looked at a few times."""
    looks = iter(range(times))

    def look(_: object) -> object:
        if next(looks, None) is None:
            raise kind
        return None

    return property(look)


def raising(kind: type[BaseException]) -> Callable[..., NoReturn]:
    """A method that raises."""

    def call(*_: object) -> NoReturn:
        raise kind

    return call


RAISED = (RuntimeError, KeyError, AttributeError, SystemExit, RecursionError, Leaves)
REPORTED = (RuntimeError, KeyError, AttributeError, RecursionError)  # what logging itself survives at a later look
BASES: tuple[tuple[type[BaseException], tuple[Any, ...]], ...] = (
    (Exception, ("said",)),
    (BaseException, ()),
    (SystemExit, (Odd(),)),
    (SyntaxError, ("said", ("file", Odd(), None, "text"))),
    (UnicodeDecodeError, ("utf-8", b"\xff", 0, 1, "bad")),
    (ImportError, (Odd(),)),
    (OSError, (OddNumber(5), OddText("text"))),
    (sqlite3.OperationalError, (OddText("no such table"),)),
    (alchemy.DBAPIError, ("SELECT 1", {}, ValueError("no"))),
    (alchemy.IntegrityError, ("SELECT 1", {}, "duplicate key")),
    (alchemy.OperationalError, ("SELECT 1", {}, Exception)),
    (alchemy.PendingRollbackError, ("said",)),
    (ExceptionGroup, ("several", [ValueError("one")])),
)
READ = (
    "args",
    "code",
    "connection_invalidated",
    "detail",
    "orig",
    "pgcode",
    "sqlite_errorcode",
    "sqlstate",
    "statement",
    "__class__",
    "__cause__",
    "__context__",
    "__module__",
    "__notes__",
    "__suppress_context__",
    "__traceback__",
)
CALLED = ("__bool__", "__eq__", "__getattr__", "__getattribute__", "__hash__", "__len__", "__repr__", "__str__")

odd_values: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.integers(),
    st.sampled_from(ODD_TEXTS),
    st.builds(OddText, st.sampled_from(ODD_TEXTS)),
    st.builds(OddNumber, st.integers(0, 9)),
    st.builds(Odd),
    st.just([Odd(), 5]),
    st.just((Odd(),)),
    st.builds(ValueError),
    st.just(Exception),
    st.builds(refuses, st.sampled_from(RAISED)),
    st.builds(refuses_later, st.sampled_from(REPORTED), st.integers(1, 30)),
)
methods = st.one_of(st.builds(raising, st.sampled_from(RAISED)), st.builds(lambda value: lambda *_: value, odd_values))


class Held:
    """An error in a box: what shows an example must not look at it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


@st.composite
def errors(draw: st.DrawFn) -> Held:
    """Any error, odd or not."""
    return Held(any_error(draw, depth=2))


def any_error(draw: st.DrawFn, depth: int) -> BaseException:
    """An error of a class that is odd in a few ways, or an ordinary one; either may have come from such errors."""
    error = plain(draw, depth) if draw(st.booleans()) else odd(draw)
    for name in ("__cause__", "__context__"):
        if depth and draw(st.booleans()):
            BaseException.__dict__[name].__set__(error, any_error(draw, depth - 1))
    return error


def odd(draw: st.DrawFn) -> BaseException:
    """An error of a class that is odd in a few ways."""
    base, arguments = draw(st.sampled_from(BASES))
    error: BaseException = type("Mid", (base,), {})(*arguments)
    members: dict[str, Any] = draw(st.dictionaries(st.sampled_from(READ), odd_values, max_size=3))
    members |= draw(st.dictionaries(st.sampled_from(CALLED), methods, max_size=2))
    names = draw(st.dictionaries(st.sampled_from(("__name__", "__module__", "__mro__")), odd_values, max_size=2))
    if draw(st.booleans()):
        names["__getattribute__"] = raising(draw(st.sampled_from(RAISED)))
    meta: Any = type("Meta", (type,), names)
    # The error is made before its class is odd: what makes it may set what the class refuses.
    kind = meta(draw(st.sampled_from(["Kind", OddText("Kind"), "", "\n", "a|b"])), (type(error),), members)
    type.__dict__["__qualname__"].__set__(kind, draw(st.sampled_from([*ODD_TEXTS, *map(OddText, ODD_TEXTS)])))
    object.__dict__["__class__"].__set__(error, kind)
    return error


def plain(draw: st.DrawFn, depth: int) -> BaseException:
    """An ordinary error, which may hold an odd one."""
    if depth and draw(st.booleans()):
        with suppress(*RAISED):  # Python itself asks some of them for their class
            return BaseExceptionGroup("several", [any_error(draw, depth - 1), ValueError("one")])
    return ValueError("said")


@given(held=errors())
@settings(max_examples=EXAMPLES * 2, deadline=None)
def test_all_that_reads_an_error_comes_to_an_end(held: Held) -> None:
    error = held.error
    is_lost, is_deadlock = SqlAlchemyErrors().is_lost_connection(error), SqlAlchemyErrors().is_deadlock(error)

    assert {is_lost, is_deadlock, is_missing_table(error)} <= {True, False}
    assert next(chain_of(error)) is error
    for text in (message(error), one_line(error), name_of(error), *path_of(error), *base_names(error)):
        assert type(text) is str
        text.encode()
    assert "\n" not in one_line(error)
    assert len(format_trace(error).encode()) <= MAX_BYTES
    assert all(type(note) is str for note in notes_of(error))


@given(held=errors())
@settings(max_examples=EXAMPLES * 2, deadline=None)
def test_an_error_is_told_to_every_other_process(held: Held) -> None:
    error = held.error
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(describe(error)), type=Error)
    letter = write(_failure(error), "id", limit=1_000_000)

    assert isinstance(failure_of(text_of(error)), BaseException)
    assert type(ErrorElsewhere.of(told.module, told.name, told.text, told.trace)).__qualname__ == told.name
    fields = dict(letter.headers)
    assert fields["x-failed-class"] == ".".join(path_of(error)).encode()[:MAX_NAME]
    assert fields["x-failed-trace"]


@given(held=errors())
@settings(max_examples=EXAMPLES * 2, deadline=None)
def test_what_stands_for_an_error_is_logged_and_shown_as_any_other(held: Held) -> None:
    told = tellable(held.error)
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, "it failed", None, (type(told), told, None))

    lines = [LineFormatter().format(record), json.loads(JsonFormatter().format(record))["exception"]]

    assert all(lines)
    add_note(told, "noted")
    Handler().report(told)
    assert Handler().render(told, verbosity=0) in range(256)


def _failure(error: BaseException) -> Failure:
    return Failure(
        connection="kafka",
        queue="jobs",
        payload=b"{}",
        error=error,
        uuid=None,
        key=None,
        headers=(),
        origin="jobs[0]@0",
        timestamp_ms=0,
    )
