"""The partitions of one topic, in turn, as far as something new of them may begin; topics by their weights."""

import time
from collections import deque
from collections.abc import Sequence

from lamplighter.kafka.partitions.reach import LEAST, MOST
from lamplighter.kafka.scheduling.backlog import Backlog
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.queue.weights import charge

TURN = 1.0  # seconds that a partition is worked before another one that has something


class Turns:
    """What of one topic no job was begun of. The thread that pops owns it.

    Partitions stand in one of two queues. Those with suspects come first, whatever else is there: as long as these have
    not run, each further crash makes them look more like killers. A partition that may begin nothing stands in neither;
    it is put back by `add`, when something of it was settled or committed.

    Attributes:
        weight: how often this topic is chosen, beside the other topics that have something.
        credit: what it has been left behind by, in such turns.
        backlog: the partition that is worked now, if there is one.
    """

    __slots__ = ("_began_at", "_first", "_most", "_queue", "backlog", "credit", "name", "weight")

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.credit: float = 0
        self.backlog: Backlog | None = None
        self._first: deque[Backlog] = deque()
        self._queue: deque[Backlog] = deque()
        self._began_at = float("-inf")
        self._most = LEAST

    def add(self, backlog: Backlog, *, is_next: bool = False) -> None:
        """Let a partition with unbegun records stand in its queue, at the end or as the next one."""
        if backlog.is_queued:
            return
        backlog.is_queued = True
        queue = self._first if backlog.has_suspects else self._queue
        (queue.appendleft if is_next else queue.append)(backlog)

    @property
    def has_something(self) -> bool:
        """Whether a record is left that may begin."""
        return bool(self._first or self._queue or (self.backlog is not None and self.backlog.current))

    @property
    def has_suspects(self) -> bool:
        """Whether something is left that comes before what is left of other topics."""
        backlog = self.backlog
        return self._has_first() or (backlog is not None and bool(backlog.current) and backlog.has_suspects)

    def next(self) -> KafkaDelivery | None:
        """Begin the next job; None where none may."""
        backlog = self.backlog
        while True:
            if backlog is None or not backlog.current:
                backlog = self.backlog = self._begin()
                if backlog is None:
                    return None
            elif not backlog.partition.is_open:
                backlog.drop()
            elif self._has_first() and not backlog.has_suspects:
                backlog.put_back_chunk()
                self.add(backlog, is_next=True)
            elif backlog.is_plain or backlog.may_begin():
                return backlog.take()
            else:
                backlog.put_back_chunk()
                backlog.is_closed = True

    def _begin(self) -> Backlog | None:
        """Begin a chunk of the next partition, up to where the broker knows that this owner may come."""
        while self._has_first() or self._queue:
            backlog = (self._first or self._queue).popleft()
            backlog.is_queued = False
            if not backlog.partition.is_open:
                backlog.drop()
            elif not backlog.chunks:
                continue
            elif not backlog.may_begin():
                backlog.is_closed = True
            elif not backlog.partition.reach.may_begin(backlog.next_offset):
                # Told anew each time: the commit that announces this offset may have been made before it was wanted.
                backlog.waits_for_commit = True
                backlog.partition.reach.want(backlog.next_offset)
                backlog.partition.wants_commit = True
            else:
                self._begin_chunk(backlog)
                return backlog
        return None

    def _begin_chunk(self, backlog: Backlog) -> None:
        partition, chunk = backlog.partition, backlog.chunks.popleft()
        marks, reach, first = partition.marks, partition.reach, chunk[-1].offset()
        if 0 <= marks.careful_until <= first:
            # No partition is plain before the window of the last owner is over.
            marks.end_window()
            backlog.settle_down()
        end = min(reach.told, marks.careful_until) if first < marks.careful_until else reach.told
        most = self._turn_of(backlog, chunk)
        if chunk[0].offset() >= end:
            most = min(most, sum(message.offset() < end for message in chunk))
        if len(chunk) > most:
            backlog.chunks.appendleft(chunk[:-most])
            chunk = chunk[-most:]
        backlog.take_chunk(chunk)
        if reach.is_short:
            partition.wants_commit = True
        if backlog.chunks:
            self.add(backlog)

    def _turn_of(self, backlog: Backlog, chunk: Sequence[object]) -> int:
        """How many jobs are begun before another partition has its turn: about a second's work, or all suspects."""
        now = time.monotonic()
        took, self._began_at = now - self._began_at, now
        self._most = max(1, self._most // 2) if took > TURN else min(MOST, 2 * self._most)
        if not self._first and not self._queue:
            return len(chunk)
        last = max(backlog.partition.marks.suspects, default=-1)
        if last < 0:
            return self._most
        return max(1, sum(message.offset() <= last for message in chunk))  # type: ignore[attr-defined]

    def _has_first(self) -> bool:
        first = self._first
        while first and not first[0].has_suspects:
            self._queue.append(first.popleft())  # they have begun since
        return bool(first)


def next_by_weight(topics: Sequence[Turns]) -> KafkaDelivery | None:
    """Smooth weighted turns: what has more weight comes first and more often, and nothing starves."""
    able = [topic for topic in topics if topic.has_something]
    while able:
        chosen = max(able, key=lambda topic: (topic.has_suspects, topic.credit + topic.weight))
        charge(able, chosen)
        delivery = chosen.next()
        if delivery is not None:
            return delivery
        able.remove(chosen)
    for topic in topics:
        topic.credit = 0
    return None
