"""The partitions of one topic, in turn, as far as something new of them may begin."""

import time
from collections import deque

from lamplighter.kafka.delivery import KafkaDelivery
from lamplighter.kafka.partition import LEAST_REACH, MOST_REACH, Chunk, Partition

TURN = 1.0  # seconds that a partition is worked before another one that has something


class Line:
    """What is fetched of one topic and not begun.

    Only `arrived` is called by the polling thread.

    Attributes:
        weight: how often this topic is chosen, beside the other topics that have something.
        credit: what it has been left behind by, in such turns.
        partition, chunk: what is worked now.
    """

    __slots__ = ("_began_at", "_most", "_parked", "_waiting", "chunk", "credit", "name", "partition", "weight")

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.credit = 0
        self.partition: Partition | None = None
        self.chunk: Chunk = []
        self._began_at = float("-inf")
        self._most = LEAST_REACH
        self._waiting: deque[Partition] = deque()
        self._parked: list[Partition] = []

    def arrived(self, partition: Partition, chunk: Chunk) -> None:
        """Messages of a partition, the oldest last."""
        partition.chunks.append(chunk)
        if partition.suspects:
            # They come first: as long as one has not run, each crash makes it look more like a killer.
            self._waiting.appendleft(partition)
        else:
            self._waiting.append(partition)

    def has_something(self) -> bool:
        """Whether a message is left that may begin."""
        self.unpark()
        return bool(self.chunk or self._waiting)

    def is_empty(self) -> bool:
        """Whether no message is left at all."""
        chunk_is_over = not self.chunk or self.partition is None or self.partition.lost
        return chunk_is_over and not self._waiting and all(partition.lost for partition in self._parked)

    def next(self) -> KafkaDelivery | None:
        """Begin the next message; None where none may."""
        while self.chunk or self._open():
            partition = self.partition
            assert partition is not None  # chunks have one
            if partition.lost:
                self.chunk = []
            elif self._must_make_way(partition):
                self._make_way(partition)
            elif partition.is_plain or partition.may_take():
                delivery = KafkaDelivery(partition, self.chunk.pop())
                if partition.careful_until > delivery.offset:
                    delivery.is_suspect = True
                return delivery
            else:
                partition.is_closed = True
                self._put_back(partition)
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
            self._waiting.extendleft([partition] * partition.parked)
            partition.parked = 0

    def _open(self) -> bool:
        """Begin the next chunk, up to where the broker knows that this owner may come."""
        while self._waiting:
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
        waiting = self._waiting
        for _ in range(len(waiting)):
            if waiting[0] is not self.partition or waiting[0].suspects:
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
            self._waiting.appendleft(partition)
            chunk = chunk[cut:]
        most = self._turn_of(partition, len(chunk))
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

    def _turn_of(self, partition: Partition, size: int) -> int:
        """How many messages are begun before another partition has its turn: about a second's work."""
        now = time.monotonic()
        took, self._began_at = now - self._began_at, now
        self._most = max(1, self._most // 2) if took > TURN else min(MOST_REACH, 2 * self._most)
        is_shared = any(other is not partition for other in self._waiting.copy())
        return self._most if is_shared and not partition.suspects else size

    def _must_make_way(self, partition: Partition) -> bool:
        waiting = self._waiting
        return bool(waiting) and waiting[0] is not partition and bool(waiting[0].suspects) and not partition.suspects

    def _make_way(self, partition: Partition) -> None:
        """Let the partition that is first in line begin, and stand behind it."""
        chunk, self.chunk = self.chunk, []
        partition.current = self.chunk
        partition.buffered_bytes += sum(map(len, chunk))
        partition.chunks.appendleft(chunk)
        first = self._waiting.popleft()
        self._waiting.appendleft(partition)
        self._waiting.appendleft(first)

    def _put_back(self, partition: Partition) -> None:
        chunk, self.chunk = self.chunk, []
        partition.current = self.chunk
        partition.buffered_bytes += sum(map(len, chunk))
        partition.chunks.appendleft(chunk)
        self._park(partition)

    def _park(self, partition: Partition) -> None:
        if partition.parked == 0:
            self._parked.append(partition)
        partition.parked += 1


def _may_begin(partition: Partition) -> bool:
    return bool(partition.chunks[0][-1].offset() < partition.reach)
