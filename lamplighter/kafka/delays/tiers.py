"""The delay topics, and the records that wait in them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from lamplighter.contracts import Headers, Message
from lamplighter.kafka.headers import headers_of

SHORT = (1, 5, 15, 60, 300, 900)  # seconds
LONG = tuple(900 * 2**k for k in range(1, 12))  # up to 21 days; what is longer goes round once more
HEADER = "lamplighter-delay"  # b"<due in ms since 1970> <sent> <ms to wait from the append, or -> <topic>"
CLOCK = "lamplighter-clock"  # the header of a record that only asks the brokers for their time
OWN = frozenset({HEADER, CLOCK})

_A_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class Tiers:
    """The fixed delays of one connection, each with its topic; `seconds` rises."""

    prefix: str
    seconds: tuple[int, ...]

    def topics(self) -> list[str]:
        """The topics' names."""
        return [self.topic(seconds) for seconds in self.seconds]

    def topic(self, seconds: int) -> str:
        """The topic whose records wait for so long."""
        return f"{self.prefix}{seconds}"

    def seconds_of(self, topic: str) -> int:
        """How long the records of a topic wait."""
        return int(topic.removeprefix(self.prefix))

    def choose(self, left: float) -> int:
        """The longest delay that is over before so many seconds are; else the shortest, which then is cut short."""
        return max((seconds for seconds in self.seconds if seconds <= left), default=self.seconds[0])


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is held back.

    Attributes:
        topic: where it is to go.
        due: when, in seconds since 1970 by the brokers' clock.
        since: when its present wait has begun.
        message: what is to be put there: payload, key and headers as they were given.
    """

    topic: str
    due: float
    since: float
    message: Message


def wrap(message: Message, topic: str, *, due: float, sent: float, wait: float | None = None) -> Message:
    """The record for a delay topic: key and payload as they are, and one header more.

    With `wait` it is due so long after its append, whatever the sender's clock says: that is how a first hop travels.
    """
    words = (_ms(due), _ms(sent), "-" if wait is None else _ms(wait), topic)
    return Message(message.payload, message.key, [*message.headers, (HEADER, " ".join(map(str, words)).encode())])


def unwrap(record: Any) -> Waiting | None:
    """What a record of a delay topic says; None where none of ours has written it."""
    headers = headers_of(record)
    found = next((value for name, value in reversed(headers) if name == HEADER), None)
    if found is None:
        return None
    try:
        due, sent, wait, topic = found.decode().split(" ")
        at, since, delay = int(due) / 1000, int(sent) / 1000, None if wait == "-" else int(wait) / 1000
    except ValueError:
        return None
    if not _A_TOPIC.fullmatch(topic):
        return None
    kind, stamp = record.timestamp()
    if kind == TIMESTAMP_LOG_APPEND_TIME:
        since = stamp / 1000
        at = at if delay is None else since + delay
    return Waiting(topic, at, since, Message(record.value() or b"", record.key(), _others(headers)))


def _others(headers: Headers) -> Sequence[tuple[str, bytes | None]]:
    return [(name, value) for name, value in headers if name not in OWN]


def _ms(seconds: float) -> int:
    # Upwards: what is rounded down would be early.
    return math.ceil(seconds * 1000)
