"""A dead letter: the message as it was, and behind its own headers what became of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lamplighter.contracts import Headers, Message
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.queue.failed import FailedJob, Failure
from lamplighter.queue.failed.naming import chosen_id, name_of
from lamplighter.queue.failed.trace import MAX_BYTES, cut, format_trace, message
from lamplighter.support.foreign import path_of

if TYPE_CHECKING:
    from lamplighter.kafka.settings.native import Message as KafkaMessage

PREFIX = "x-failed-"
# The first of our headers; what stands before its last one is the sender's.
VERSION = PREFIX + "version"
SETTLED = PREFIX + "settled"
UNTIL = PREFIX + "until"
CONNECTION = PREFIX + "connection"
MAX_TEXT = 1024  # bytes of what an error says
MAX_NAME = 255  # bytes of a class, an id, a connection
LEAST_TRACE = 256  # bytes; less tells nothing
OFFSET = re.compile(r"[0-9]{1,19}")
POSITION = re.compile(r"(?P<topic>.+)\[(?P<partition>\d+)\]@(?P<offset>\d+)")


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter as it was read; `job.id` is what it asks to be called."""

    identity: str
    job: FailedJob


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of letters of one message, in the partition where it stands.

    Attributes:
        connection: whose letters it ends; None ends those of every connection, as marks did that did not say it.
        until: the offset of the last letter that was read; None ends all that stand before the mark.
    """

    identity: str
    connection: str | None
    until: int | None


def write(failure: Failure, id: str, *, limit: int) -> Message:
    """The letter of a failure, with as much of the trace as fits into `limit` bytes; people see it under `id`."""
    bare = Message(failure.payload, failure.key, [*failure.headers, *_told(failure, id)])
    room = min(MAX_BYTES, limit - size(bare) - len(PREFIX) - len("trace"))
    if room < LEAST_TRACE:
        return bare
    trace = format_trace(failure.error, limit=room).encode()
    return Message(bare.payload, bare.key, [*bare.headers, (PREFIX + "trace", trace)])


def size(message: Message) -> int:
    """The bytes of a message on the wire, at most: each header has two lengths."""
    headers = sum(10 + len(name.encode()) + len(value or b"") for name, value in message.headers)
    return len(message.payload) + len(message.key or b"") + headers


def mark(identity: str, *, connection: str, until: int) -> Message:
    """What ends the letters of a message in this partition, up to the one that was read: it was retried, or forgotten.

    A letter that came between the reading and the mark is another failure, and stays.
    """
    told = {SETTLED: identity, CONNECTION: connection, UNTIL: str(until)}
    return Message(b"", identity.encode(), [(VERSION, b"1"), *((name, text.encode()) for name, text in told.items())])


def mark_in(fields: Mapping[str, str]) -> Mark | None:
    """The mark that these fields are; None where they are a letter's."""
    identity = fields.get(SETTLED)
    if identity is None:
        return None
    until = fields.get(UNTIL)
    return Mark(identity, fields.get(CONNECTION), None if until is None else _offset(until))


def fields_of(message: "KafkaMessage") -> tuple[Headers, dict[str, str]] | None:
    """The sender's headers, and ours by name; None for what somebody else has written into the topic."""
    headers = headers_of(message)
    names = [name for name, _ in headers]
    if VERSION not in names:
        return None
    first = len(names) - 1 - names[::-1].index(VERSION)
    return headers[:first], {name: (value or b"").decode("utf-8", "replace") for name, value in headers[first:]}


def read(message: "KafkaMessage", original: Headers, fields: Mapping[str, str]) -> Letter | None:
    """A letter from what `fields_of` gave; None where one of its fields can't be read."""
    told = {name.removeprefix(PREFIX): value for name, value in fields.items()}
    try:
        failed_at = datetime.fromisoformat(told["at"]).astimezone(UTC)
        origin = f"{told['topic']}[{told['partition']}]@{told['offset']}"
        id, identity = told["id"], told["identity"]
    except (KeyError, ValueError, OverflowError):  # the last for a time at either end of the calendar
        return None
    payload = message.value() or b""
    brief = f"{told.get('class', '')}: {told.get('message', '')}"
    job = FailedJob(
        id=chosen_id(id, identity),
        connection=told.get("connection", ""),
        queue=told["topic"],
        name=name_of(payload),
        payload=payload,
        key=message.key(),
        headers=original,
        origin=origin,
        exception=told.get("trace") or brief,
        failed_at=failed_at,
    )
    return Letter(identity, job)


def _offset(text: str) -> int:
    """An offset as a mark tells it; one that can't be read is before all letters, so that it ends none."""
    return int(text) if OFFSET.fullmatch(text) else -1


def _told(failure: Failure, id: str) -> list[tuple[str, bytes | None]]:
    place = POSITION.fullmatch(failure.origin)
    told = {
        "version": "1",
        "id": cut(id, MAX_NAME),
        "identity": failure.identity,
        "connection": cut(failure.connection, MAX_NAME),
        "topic": failure.queue,
        "partition": place["partition"] if place else "",
        "offset": place["offset"] if place else "",
        "timestamp": "" if failure.timestamp_ms is None else str(failure.timestamp_ms),
        "attempts": str(failure.attempts),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "uuid": cut(failure.uuid or "", MAX_NAME),
        "class": cut(".".join(path_of(failure.error)), MAX_NAME),
        "message": cut(message(failure.error), MAX_TEXT),
    }
    return [(PREFIX + name, value.encode()) for name, value in told.items()]
