"""The partitions of one topic, in turn, as far as something new of them may begin."""

import time
from collections import deque
from collections.abc import Sequence

from lamplighter.kafka.partitions.partition import LEAST_REACH, MOST_REACH, Chunk, Partition
from lamplighter.kafka.scheduling.delivery import KafkaDelivery

TURN = 1.0  # seconds that a partition is worked before another one that has something


class Line:
    """What is fetched of one topic and not begun.

    Only `arrived` is called by the polling thread.

    Attributes:
        weight: how often this topic is chosen, beside the other topics that have something.
        credit: what it has been left behind by, in such turns.
        partition, chunk: what is worked now.
    """

    __slots__ = (
        "_began_at",
        "_first",
        "_most",
        "_parked",
        "_waiting",
        "chunk",
        "credit",
        "name",
        "partition",
        "weight",
    )

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.credit = 0
        self.partition: Partition | None = None
        self.chunk: Chunk = []
        self._began_at = float("-inf")
        self._most = LEAST_REACH
        # A partition stands here once for each chunk. With suspects it comes first, whatever else is there: as long as
        # these have not run, each crash makes them look more like killers.
        self._first: deque[Partition] = deque()
        self._waiting: deque[Partition] = deque()
        self._parked: list[Partition] = []

    def arrived(self, partition: Partition, chunk: Chunk) -> None:
        """Messages of a partition, the oldest last."""
        partition.chunks.append(chunk)
        self._queue_of(partition).append(partition)

    def has_something(self) -> bool:
        """Whether a message is left that may begin."""
        self.unpark()
        return bool(self.chunk or self._first or self._waiting)

    def has_suspects(self) -> bool:
        """Whether something is left that comes before what is left of other topics."""
        is_begun = bool(self.chunk) and self.partition is not None and bool(self.partition.suspects)
        return is_begun or self._has_first()

    def is_empty(self) -> bool:
        """Whether no message is left at all."""
        chunk_is_over = not self.chunk or self.partition is None or self.partition.lost
        is_over = chunk_is_over and not self._first and not self._waiting
        return is_over and all(partition.lost for partition in self._parked)

    def next(self) -> KafkaDelivery | None:
        """Begin the next message; None where none may."""
        while self.chunk or self._open():
            partition = self.partition
            assert partition is not None  # chunks have one
            if partition.lost:
                self.chunk = []
            elif not partition.suspects and self._has_first():
                self._put_back(partition)
                self._waiting.appendleft(partition)
            elif partition.is_plain or partition.may_take():
                delivery = KafkaDelivery(partition, self.chunk.pop())
                if partition.careful_until > delivery.offset or delivery.offset in partition.suspects:
                    delivery.is_suspect = True
                    partition.suspects.discard(delivery.offset)
                return delivery
            else:
                partition.is_closed = True
                self._put_back(partition)
                self._park(partition)
        return None

    def unpark(self) -> None:
        """Look whether partitions that were put aside may begin something again."""
        if not self._parked:
            return
        parked, self._parked = self._parked, []
        for partition in parked:
            if partition.lost:
                continue
            if not partition.may_take() or not _may_begin(partition):
                self._parked.append(partition)
                continue
            partition.is_closed = False
            self._queue_of(partition).extendleft([partition] * partition.parked)
            partition.parked = 0

    def _open(self) -> bool:
        """Begin the next chunk, up to where the broker knows that this owner may come."""
        while self._first or self._waiting:
            partition = self._take_turn()
            if partition.lost:
                continue
            if not partition.may_take():
                partition.is_closed = True
                self._park(partition)
            elif not _may_begin(partition):
                # Offsets have gaps: what is announced next begins at this one.
                partition.begun = max(partition.begun, partition.chunks[0][-1].offset())
                partition.wants_commit = True
                self._park(partition)
            else:
                self._begin(partition, partition.chunks.popleft())
                return True
        self.partition, self.chunk = None, []
        return False

    def _take_turn(self) -> Partition:
        """The first in line that is not the last one again: of one there may be thousands before another."""
        if self._has_first():
            return self._first.popleft()
        waiting = self._waiting
        for _ in range(len(waiting)):
            if waiting[0] is not self.partition:
                break
            waiting.rotate(-1)
        return waiting.popleft()

    def _begin(self, partition: Partition, chunk: Chunk) -> None:
        careful, first, last = partition.careful_until, chunk[-1].offset(), chunk[0].offset()
        if 0 <= careful <= first:
            # The window of the last owner is over; no lane is plain before it has been told.
            partition.careful_until = careful = -1
            partition.settle_down()
        end = min(partition.reach, careful) if first < careful else partition.reach
        if last >= end:
            cut = next(number for number, message in enumerate(chunk) if message.offset() < end)
            partition.chunks.appendleft(chunk[:cut])
            self._queue_of(partition).appendleft(partition)
            chunk = chunk[cut:]
        most = self._turn_of(partition, chunk)
        if len(chunk) > most:
            partition.chunks.appendleft(chunk[:-most])
            self._waiting.append(partition)
            chunk = chunk[-most:]
        partition.buffered_bytes -= sum(map(len, chunk))
        partition.begun = max(partition.begun, chunk[0].offset() + 1)
        if partition.reach - partition.begun < partition.margin // 2:
            partition.wants_commit = True
        self.partition, self.chunk = partition, chunk
        partition.current = chunk

    def _turn_of(self, partition: Partition, chunk: Chunk) -> int:
        """How many messages are begun before another partition has its turn: about a second's work, or all suspects."""
        now = time.monotonic()
        took, self._began_at = now - self._began_at, now
        self._most = max(1, self._most // 2) if took > TURN else min(MOST_REACH, 2 * self._most)
        if all(other is partition for other in (*self._first.copy(), *self._waiting.copy())):
            return len(chunk)
        last = max(partition.suspects, default=-1)
        return self._most if last < 0 else max(1, len([message for message in chunk if message.offset() <= last]))

    def _has_first(self) -> bool:
        first = self._first
        while first and not first[0].suspects:
            self._waiting.append(first.popleft())  # they have begun since
        return bool(first)

    def _queue_of(self, partition: Partition) -> deque[Partition]:
        return self._first if partition.suspects else self._waiting

    def _put_back(self, partition: Partition) -> None:
        chunk, self.chunk = self.chunk, []
        partition.current = self.chunk
        partition.buffered_bytes += sum(map(len, chunk))
        partition.chunks.appendleft(chunk)

    def _park(self, partition: Partition) -> None:
        if partition.parked == 0:
            self._parked.append(partition)
        partition.parked += 1


def next_by_weight(lines: Sequence[Line]) -> KafkaDelivery | None:
    """Smooth weighted turns: what has more weight comes first and more often, and nothing starves."""
    able = [line for line in lines if line.has_something()]
    while able:
        total = sum(line.weight for line in able)
        for line in able:
            line.credit += line.weight
        chosen = max(able, key=lambda line: (line.has_suspects(), line.credit))
        chosen.credit -= total
        delivery = chosen.next()
        if delivery is not None:
            return delivery
        able.remove(chosen)
    for line in lines:
        line.credit = 0
    return None


def _may_begin(partition: Partition) -> bool:
    return bool(partition.chunks[0][-1].offset() < partition.reach)
