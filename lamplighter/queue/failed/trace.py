"""An error as the failed-job store keeps it: with its trace, without the values that its functions held."""

import re
import traceback
from contextlib import suppress

from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.errors import HandlerError, SlotTerminated
from lamplighter.support.foreign import as_text, attribute, cause_of, context_of, name_of, path_of, text_of

MAX_BYTES = 16 * 1024
UNPRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but the ends of lines and tabs
MOST_STEPS = 4  # of errors that one came from, each replaced where it can't be looked at
DATABASE = SqlAlchemyErrors()
TRACEBACK = BaseException.__dict__["__traceback__"]
LINKS = (
    (cause_of, BaseException.__dict__["__cause__"].__set__),
    (context_of, BaseException.__dict__["__context__"].__set__),
)
CUT = "\n… {count} bytes left out …\n"


def message(error: BaseException) -> str:
    """What an error says, as UTF-8 can carry it; an error whose own text raises says that."""
    return as_utf8(text_of(error))


def as_utf8(text: object) -> str:
    """A text without what UTF-8 can't carry: half surrogate pairs, as undecodable file names have them."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def tellable(error: BaseException) -> BaseException:
    """The error itself; in the place of one that can't be looked at, one that says as much of it as can be told.

    Its class may hide anything behind the names that Python, logging and the worker look at, and so may the classes of
    the errors that it came from. All of that is looked at here, while the job has a deadline: it is code of whoever
    wrote the class, and may hang. Where only an error that it came from is at fault, the error stays itself, and that
    one is replaced.
    """
    why = _fault(error)
    return error if why is None else _mended(error, why, MOST_STEPS)


def _mended(error: BaseException, why: str, steps: int) -> BaseException:
    for get, set_ in LINKS:
        link = get(error)
        if link is None:
            continue
        fault = _fault(link)
        if fault is not None:
            # Far down a long chain the rest of it is left out.
            set_(error, _mended(link, fault, steps - 1) if steps else None)
    if _fault(error) is None:
        return error
    stand_in = HandlerError(f"{'.'.join(path_of(error))} was raised, and {why}. It says: {message(error)}")
    return stand_in.with_traceback(TRACEBACK.__get__(error))


def _fault(error: BaseException) -> str | None:
    """Why an error can't be looked at, or one that it came from; None for one that can."""
    try:
        steps = [traceback.TracebackException.from_exception(error, lookup_lines=False)]  # reads their texts, too
        for step in steps:
            for _ in step.format_exception_only():  # their classes, and their notes
                pass
            steps += [one for one in (step.__cause__, step.__context__, *(step.exceptions or ())) if one is not None]
        DATABASE.is_lost_connection(error)
        DATABASE.is_deadlock(error)
        kind = type(error)
        for _ in (
            kind.__name__,
            kind.__qualname__,
            kind.__module__,
        ):  # what listeners ask of it; a metaclass may refuse
            pass
        is_itself = error.__class__ is kind and bool(error) in (True, False)
    except SlotTerminated:
        raise
    except BaseException as why:
        return f"can't be looked at: {name_of(why)}"
    return None if is_itself else "says that it is of another class"


def one_line(error: BaseException) -> str:
    """The error as a log line tells it."""
    return f"{name_of(error)}: {message(error)}".splitlines()[0][:500]


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error that takes one."""
    with suppress(Exception):  # what it has under that name may be anything
        BaseException.add_note(error, note)


def notes_of(error: BaseException) -> list[str]:
    """The notes of an error, as far as they are texts."""
    notes = attribute(error, "__notes__")
    return [text for text in map(as_text, notes) if text] if type(notes) is list else []


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as has `limit` bytes."""
    return text.encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore")


def format_trace(error: BaseException, *, limit: int = MAX_BYTES) -> str:
    """The error and what led to it, at most 16 kB, both ends kept; ready for every database and screen."""
    try:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    except BaseException:  # what has no trace that can be told is recorded all the same
        text = f"{name_of(error)}: {message(error)}\n"
    text = UNPRINTED.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > limit:
        half = max(0, limit - 64) // 2
        middle = CUT.format(count=len(data) - 2 * half).encode()
        data = data[:half] + middle + data[len(data) - half :]
    return data.decode("utf-8", "ignore")
