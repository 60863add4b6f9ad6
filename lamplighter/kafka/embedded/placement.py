"""Keeps the embedded broker from dropping what nobody has read."""

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from lamplighter.contracts import Message
from lamplighter.errors import EmbeddedBrokerFull
from lamplighter.kafka.embedded.partitioner import partition_for
from lamplighter.kafka.embedded.pushes import ARRIVAL, LARGE, LargePushes
from lamplighter.kafka.embedded.unread_sizes import UnreadSizes, size_of
from lamplighter.kafka.producing.partitioner import ANY_PARTITION
from lamplighter.support.forking import notice_fork, watch

# The mock drops the oldest message sets of a partition beyond 5 MiB; its other limit, 100,000 sets, is not met before,
# as none counts as less than 100 bytes here. The rest is for a set that is read in part (1 MB at most), and for the
# small messages that other processes push at this moment.
LIMIT = 3_670_016  # bytes, 3.5 MiB
LOOK_AFTER = LARGE  # bytes that are placed until we look at what others have pushed
PAUSE = 0.02  # seconds between two looks for it
NO_GROUP = "lamplighter-placement"


@dataclass(slots=True)
class Unread:
    """What a group has not read of a partition, as far as we looked.

    Attributes:
        end: the offset up to which we looked.
        sizes: offset and size of each unread message.
        bytes: the sum of these sizes.
        placed: bytes of small messages that we have given a place here, and not seen yet.
        large: bytes of large messages that any process has, and that are not seen yet.
        since: bytes that we have given a place here since the last look.
    """

    end: int = 0
    sizes: deque[tuple[int, int]] = field(default_factory=deque)
    bytes: int = 0
    placed: int = 0
    large: int = 0
    since: int = 0

    def add(self, found: list[tuple[int, int]]) -> None:
        """Messages are there, ours or another's."""
        self.sizes.extend(found)
        self.bytes += sum(size for _, size in found)
        self.placed = max(0, self.placed - sum(size for _, size in found if size <= LARGE))

    def forget_before(self, first: int) -> None:
        """Messages are read."""
        while self.sizes and self.sizes[0][0] < first:
            self.bytes -= self.sizes.popleft()[1]


class Placement:
    """Chooses the partition of a push, and refuses one that would make the mock drop jobs of a group.

    Safe to use from any thread. The topics of `groups` are each read by these groups, from the beginning even before
    they have committed anything. So is every other topic, by `group`, since a worker may be told to with --queue; only
    the topics of `written` are read by nobody here, and lose their oldest. `pushes` is what all processes share.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        groups: Mapping[str, Sequence[str]],
        *,
        group: str,
        written: Collection[str],
        pushes: LargePushes,
    ) -> None:
        self._config = dict(config)
        self._groups: dict[str, Sequence[str]] = {**dict.fromkeys(written, ()), **groups}
        self._group = group
        self._pushes = pushes
        self._unread: dict[tuple[str, int, str], Unread] = {}
        self._counts: dict[str, int] = {}
        self._readers: dict[str, UnreadSizes] = {}
        self._turn = itertools.count(random.randrange(1000))
        self._lock = threading.Lock()
        watch(self, in_child=Placement._begin_as_child, locks=lambda placement: (placement._lock,))

    def place(self, topic: str, message: Message) -> int:
        """The partition for a message, which is to be pushed then; -1 leaves it to the client.

        Raises:
            EmbeddedBrokerFull: its group has to read first.
            BrokerUnavailable: the broker does not answer.
        """
        notice_fork()
        with self._lock:
            count = self._counts.get(topic) or self._count(topic)
            if count == 0:
                return ANY_PARTITION
            number = next(self._turn) % count if message.key is None else partition_for(message.key, count)
            size = size_of(message.payload, message.key, message.headers)
            for group in self._groups_of(topic):
                self._await_space(topic, number, group, size)
            return number

    def _begin_as_child(self) -> None:
        """Look anew, with clients of one's own: what the parent has placed, and not seen yet, it may never push."""
        self._lock = threading.Lock()
        self._readers = {}
        self._unread = {}

    def _groups_of(self, topic: str) -> Sequence[str]:
        return self._groups.get(topic, (self._group,))

    def _await_space(self, topic: str, number: int, group: str, size: int) -> None:
        until = time.monotonic() + ARRIVAL
        while True:
            with self._pushes.alone() if size > LARGE else nullcontext():
                unread = self._unread.get((topic, number, group))
                if unread is None or unread.since + size > LOOK_AFTER or not _fits(unread, size):
                    unread = self._look(topic, number, group)
                if _fits(unread, size):
                    self._take(unread, f"{topic}[{number}] {group}", size)
                    return
            if unread.placed + unread.large == 0:
                raise self._full(topic, number, group, unread)
            if time.monotonic() >= until:
                # What has not arrived by now has failed.
                unread.placed = 0
            time.sleep(PAUSE)

    def _take(self, unread: Unread, place: str, size: int) -> None:
        if size > LARGE:
            unread.large += size
            self._pushes.add(place, end=unread.end, size=unread.large)
        else:
            unread.placed += size
            unread.since += size

    def _look(self, topic: str, number: int, group: str) -> Unread:
        """Count what was pushed since the last look, by whomever, and forget what was read."""
        reader = self._reader(group)
        first, end = reader.unread(topic, number)
        unread = self._unread.setdefault((topic, number, group), Unread(end=first))
        unread.add(reader.sizes(topic, number, max(first, unread.end), end))
        unread.large = self._pushes.under_way(f"{topic}[{number}] {group}", unread.sizes)
        unread.forget_before(first)
        unread.end = max(first, unread.end, end)
        unread.since = 0
        return unread

    def _full(self, topic: str, number: int, group: str, unread: Unread) -> EmbeddedBrokerFull:
        others = "" if topic in self._groups else "name it among the connection's topics where only others read it, "
        return EmbeddedBrokerFull(
            f"{topic}[{number}] of the embedded broker is full: the group {group!r} has not read "
            f"{len(unread.sizes):,} messages of {unread.bytes:,} bytes, and it would drop the oldest. "
            f"Start a worker of that group (queue:work --queue={topic}), {others}or set KAFKA_BROKERS to a real Kafka."
        )

    def _count(self, topic: str) -> int:
        count = self._reader(next(iter(self._groups_of(topic)), NO_GROUP)).partitions(topic)
        if count:
            self._counts[topic] = count
        return count

    def _reader(self, group: str) -> UnreadSizes:
        reader = self._readers.get(group)
        if reader is None:
            reader = self._readers[group] = UnreadSizes(self._config, group)
        return reader


def _fits(unread: Unread, size: int) -> bool:
    return unread.bytes + unread.placed + unread.large + size <= LIMIT
