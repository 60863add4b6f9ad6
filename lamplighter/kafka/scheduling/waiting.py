"""Begun jobs that wait for their time, or may run now since nothing is before them; what is paused is put aside."""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Collection

from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.scheduling.backlog import Backlog
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.failures import mark_of

NEVER = float("inf")
Due = tuple[float, int, KafkaDelivery]


class Waiting:
    """The thread that pops owns it; any thread may ask by `wanted` for topics of which nothing begins.

    A job of a paused topic is put aside when its turn comes, and comes back when the topic goes on: no other stands
    behind it.

    Attributes:
        due: jobs by the time at which they may run, on the monotonic clock.
        ready: partitions, at least once for each job that waited behind another.
        wanted: the paused topics as they were named last; `paused` are those that are heeded.
    """

    __slots__ = ("_due_aside", "_numbers", "_ready_aside", "due", "paused", "ready", "wanted")

    def __init__(self) -> None:
        self.due: list[Due] = []
        self.ready: deque[Backlog] = deque()
        self.wanted: frozenset[str] = frozenset()
        self.paused = self.wanted
        self._numbers = itertools.count()
        self._due_aside: list[Due] = []
        self._ready_aside: deque[Backlog] = deque()

    def put(self, delivery: KafkaDelivery, at: float) -> None:
        """It may run at this time."""
        heapq.heappush(self.due, (at, next(self._numbers), delivery))

    def next_due(self) -> float:
        """When the next one is due; infinite without any."""
        return self.due[0][0] if self.due else NEVER

    def has(self, delivery: KafkaDelivery) -> bool:
        """Whether it waits for its time."""
        return any(waiting is delivery for _, _, waiting in (*self.due, *self._due_aside))

    def pop_due(self) -> KafkaDelivery | None:
        """The next one whose time has come."""
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            one = heapq.heappop(self.due)
            delivery = one[2]
            if not delivery.partition.is_open:
                continue  # the next owner begins it
            if delivery.partition.topic not in self.paused:
                return delivery
            self._due_aside.append(one)
        return None

    def pop_ready(self) -> KafkaDelivery | None:
        """The next one that nothing is before."""
        while self.ready:
            backlog = self.ready.popleft()
            if backlog.partition.topic in self.paused:
                self._ready_aside.append(backlog)
            # Those of a partition that waits for a service come in here once more when that is back.
            elif backlog.ready and backlog.waits_for is None:
                return backlog.ready.popleft()
        return None

    # pausing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def heed(self) -> Collection[str]:
        """Put back what was put aside, and take over the paused topics; these."""
        self.paused = self.wanted
        for one in self._due_aside:
            heapq.heappush(self.due, one)
        self.ready.extendleft(reversed(self._ready_aside))
        self._due_aside.clear()
        self._ready_aside.clear()
        return self.paused

    def may_begin(self, partition: Partition) -> bool:
        """Whether anything of a partition may."""
        return partition.is_open and partition.topic not in self.paused

    def put_aside(self, delivery: KafkaDelivery) -> None:
        """One that was to start alone; where the broker was told of that start, it is told that there was none."""
        if delivery.version:
            delivery.version = 0
            delivery.partition.marks.put(delivery.offset, mark_of(delivery))
            delivery.partition.tell()
        self.put(delivery, 0.0)
