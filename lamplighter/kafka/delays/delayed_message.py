"""Records that wait in a delay topic, as they are written and read."""

import re
from dataclasses import dataclass
from typing import Any

from lamplighter.contracts import Message
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.settings.native import TIMESTAMP_LOG_APPEND_TIME
from lamplighter.kafka.settings.tiers import LONGEST
from lamplighter.support.clock import ceil_ms

HEADER = "lamplighter-delay"  # b"<due in ms since 1970> <sent> <ms to wait from the append, or -> <topic>"
CLOCK = "lamplighter-clock"  # the header of a record that only asks the brokers for their time
SPARE = 86_400.0  # seconds by which clocks may differ

# Fourteen digits are the year 5138, which every date can show.
_A_HEADER = re.compile(rb"(\d{1,14}) (\d{1,14}) (-|\d{1,14}) (?!\.{1,2}\Z)([a-zA-Z0-9._-]{1,249})")


@dataclass(frozen=True, slots=True)
class DelayedMessage:
    """A message that waits in a delay topic.

    Attributes:
        topic: where it is to go.
        due: when, in seconds since 1970 by the brokers' clock.
        since: when its present wait has begun.
        message: what is to be produced there: payload, key and headers as they were given.
        is_ours: this framework wrote the record. Any other goes to the default queue at once, and fails there.
    """

    topic: str
    due: float
    since: float
    message: Message
    is_ours: bool = True


def wrap(message: Message, topic: str, *, due: float, sent: float, wait: float | None = None) -> Message:
    """The record for a delay topic: key and payload as they are, and one header more.

    With `wait` it is due so long after its append, whatever the sender's clock says: that is how a first hop travels.
    """
    words = (ceil_ms(due), ceil_ms(sent), "-" if wait is None else ceil_ms(wait), topic)
    return Message(message.payload, message.key, [*message.headers, (HEADER, " ".join(map(str, words)).encode())])


def unwrap(record: Any) -> DelayedMessage | None:
    """The message in a record of a delay topic; None where this framework has not written the record.

    Whoever may write to the topic chooses every byte of it.
    """
    headers = headers_of(record)
    place = next((place for place in reversed(range(len(headers))) if headers[place][0] == HEADER), None)
    told = None if place is None else _A_HEADER.fullmatch(headers[place][1] or b"")
    if told is None:
        return None
    at, since = int(told[1]) / 1000, int(told[2]) / 1000
    kind, stamp = record.timestamp()
    if kind == TIMESTAMP_LOG_APPEND_TIME:
        # The brokers cut off what is less than a millisecond: the append was before the next one began.
        since = (stamp + 1) / 1000
        at = at if told[3] == b"-" else since + int(told[3]) / 1000
    if at - since > LONGEST + SPARE:
        return None
    # Only our own header goes: one that an earlier record had by this name is the message's.
    others = [header for number, header in enumerate(headers) if number != place]
    return DelayedMessage(told[4].decode(), at, since, Message(record.value() or b"", record.key(), others))


def asks_for_time(record: Any) -> bool:
    """Whether a record only asks the brokers for their time, as we write it to the letter."""
    return not record.value() and record.key() is None and list(headers_of(record)) == [(CLOCK, b"")]
