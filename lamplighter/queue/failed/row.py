"""Reads one row of the table of failed jobs; whoever may write into the table chooses what it holds."""

from datetime import UTC, datetime
from typing import Any

from lamplighter.database.odd_values import any_text, id_of, kind_of, told
from lamplighter.database.rows import load_headers
from lamplighter.queue.failed.naming import name_of
from lamplighter.support.strings import is_utf8

NO_TIME = datetime.fromtimestamp(0, UTC)  # of a row that has none that can be read


def record_of(row: Any) -> dict[str, Any]:
    """The fields of a FailedRecord, but for its version."""
    return {
        "id": id_of(row["uuid"]),
        "connection": _name(row["connection"]),
        "queue": _name(row["queue"]),
        "origin": None if row["origin"] is None else told(row["origin"]),
        "failed_at": _time(row["failed_at"]) or NO_TIME,
    }


def message_of(row: Any) -> dict[str, Any]:
    """The fields that a FailedJob has beside those of its record; its name says what is wrong with the row."""
    payload, fault = payload_of(row), _fault(row)
    name = "unreadable payload" if payload is None else name_of(payload)
    if fault:
        name = f"{name} (can't be retried: {fault})"
    elif _time(row["failed_at"]) is None:
        name = f"{name} (its failed_at is no time)"
    headers = row["headers"]
    return {
        "name": name,
        "payload": payload or b"",
        "key": row["key"] if isinstance(row["key"], bytes) else None,
        "headers": load_headers(headers if headers is None else _text(headers)),
        "exception": "" if row["exception"] is None else _text(row["exception"]).encode("utf-8", "replace").decode(),
        "fault": fault,
    }


def payload_of(row: Any) -> bytes | None:
    """The message's own bytes; None where they can't be told."""
    kept, text = row["payload_bytes"], row["payload"]
    if kept is not None:
        return kept if isinstance(kept, bytes) else None
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    return text if isinstance(text, bytes) else None


def _fault(row: Any) -> str:
    """Why a job can't be pushed as it was; nothing where it can."""
    for column in ("connection", "queue"):
        if not isinstance(row[column], str) or not is_utf8(row[column]):
            return f"its {column} is {kind_of(row[column])} and no text"
    if payload_of(row) is None:
        column = "payload" if row["payload_bytes"] is None else "payload_bytes"
        return f"its {column} is {kind_of(row[column])}"
    if not isinstance(row["key"], bytes | None):
        return f"its key is {kind_of(row['key'])} and not bytes"
    return ""


def _name(value: Any) -> str:
    """A name as it is, since a job goes back to the queue of this name; what is none, as it is told."""
    return value if isinstance(value, str) and is_utf8(value) else told(value)


def _text(value: Any) -> str:
    return any_text(value) if isinstance(value, bytes) else str(value)


def _time(value: Any) -> datetime | None:
    """A time in UTC; SQLite has it as text, in the form of Python or of PHP."""
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time.replace(tzinfo=UTC)
