"""The delay topics, and the records that wait in them."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from lamplighter.contracts import Message
from lamplighter.kafka.partitions.headers import headers_of

SHORT = (1, 5, 15, 60, 300, 900)  # seconds
LONG = tuple(900 * 2**k for k in range(1, 12))  # up to 21 days; what is longer goes round once more
ALL = SHORT + LONG
BY_GROUP = ".delay."  # what follows the group in a prefix that is made of it
HEADER = "lamplighter-delay"  # b"<due in ms since 1970> <sent> <ms to wait from the append, or -> <topic>"
CLOCK = "lamplighter-clock"  # the header of a record that only asks the brokers for their time
LONGEST = 30 * 86_400.0  # seconds: no job is held back for longer
SPARE = 86_400.0  # seconds by which clocks may differ

# Fourteen digits are the year 5138, which every date can show.
_A_HEADER = re.compile(rb"(\d{1,14}) (\d{1,14}) (-|\d{1,14}) (?!\.{1,2}\Z)([a-zA-Z0-9._-]{1,249})")


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

    def served(self, topics: Iterable[str]) -> "Tiers":
        """These, and what is longer among `topics`: delay_store was another when jobs were put there."""
        there = frozenset(topics)
        more = (seconds for seconds in LONG if seconds not in self.seconds and self.topic(seconds) in there)
        return replace(self, seconds=(*self.seconds, *more))

    def others(self, topics: Iterable[str]) -> list["Tiers"]:
        """Delay topics of other prefixes among `topics`, each with all that are there of it."""
        there = frozenset(topics)
        prefixes = {topic.removesuffix(str(SHORT[-1])) for topic in there if topic.endswith(str(SHORT[-1]))}
        found = [Tiers(prefix, SHORT) for prefix in sorted(prefixes - {self.prefix})]
        return [tiers.served(there) for tiers in found if there.issuperset(tiers.topics())]

    def has(self, topic: str) -> bool:
        """Whether this is the name of a delay topic of this prefix, be it in use or not."""
        return topic in map(self.topic, ALL)

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
        is_ours: one of us has written it; what somebody else has goes to the default queue at once, and fails there.
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
    words = (_ms(due), _ms(sent), "-" if wait is None else _ms(wait), topic)
    return Message(message.payload, message.key, [*message.headers, (HEADER, " ".join(map(str, words)).encode())])


def unwrap(record: Any) -> Waiting | None:
    """What a record of a delay topic says; None where none of ours has written it.

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
        since = stamp / 1000
        at = at if told[3] == b"-" else since + int(told[3]) / 1000
    if at - since > LONGEST + SPARE:
        return None
    # Only our own header goes: one that an earlier record had by this name is the message's.
    others = [header for number, header in enumerate(headers) if number != place]
    return Waiting(told[4].decode(), at, since, Message(record.value() or b"", record.key(), others))


def is_question(record: Any) -> bool:
    """Whether a record only asks the brokers for their time, as we write it to the letter."""
    return not record.value() and record.key() is None and list(headers_of(record)) == [(CLOCK, b"")]


def _ms(seconds: float) -> int:
    # Upwards: what is rounded down would be early.
    return math.ceil(seconds * 1000)
