"""One row of the table of delayed jobs; whoever may write into the table chooses what it holds."""

import math
from dataclasses import dataclass
from typing import Any

from lamplighter.contracts import Message
from lamplighter.database.odd_values import id_of, kind_of, told
from lamplighter.database.rows import load_headers
from lamplighter.kafka.settings.settings import NO_TOPIC

NOTHING = Message(b"", None, ())


@dataclass(frozen=True, slots=True)
class DelayedJob:
    """One row; `due` is seconds since 1970 by the brokers' clock, `job_id` what dispatch has returned.

    Attributes:
        id: what cancels it.
        key: the row's id as it is stored, be it no text.
        fault: why it can't be moved; it has no message then, and if its time is at fault, no time.
    """

    id: str
    key: Any
    job_id: str
    name: str
    connection: str
    queue: str
    due: float
    message: Message
    fault: str = ""


def job_of(row: Any) -> DelayedJob:
    """A row, be its values of whatever types."""
    fault = _fault(row)
    due = row["due_at"]
    return DelayedJob(
        id=id_of(row["id"]),
        key=row["id"],
        job_id=told(row["job_id"]),
        name=told(row["name"]),
        connection=told(row["connection"]),
        queue=told(row["queue"]),
        due=due / 1000 if _is_time(due) else 0.0,
        message=NOTHING if fault else Message(row["payload"], row["key"], load_headers(row["headers"])),
        fault=fault,
    )


def _fault(row: Any) -> str:
    """What of a row can't be moved; nothing where all can."""
    if not isinstance(row["queue"], str):
        return f"its queue is {kind_of(row['queue'])} and no text"
    if not row["queue"] or NO_TOPIC.search(row["queue"]):
        return "its queue is no name of a topic"
    if not isinstance(row["payload"], bytes):
        return f"its payload is {kind_of(row['payload'])} and not bytes"
    if not isinstance(row["key"], bytes | None):
        return f"its key is {kind_of(row['key'])} and not bytes"
    if not isinstance(row["headers"], str | None):
        return f"its headers are {kind_of(row['headers'])} and no text"
    return "" if _is_time(row["due_at"]) else f"its due_at is {kind_of(row['due_at'])} and no number of milliseconds"


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
