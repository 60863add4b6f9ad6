"""What of one partition is handed over and not finished."""

from collections import deque

from lamplighter.kafka.partitions.offset_map import fits
from lamplighter.kafka.partitions.partition import Chunk, Partition
from lamplighter.kafka.scheduling.delivery import KafkaDelivery, Settling
from lamplighter.kafka.scheduling.order import Order, Ordering

MOST_AHEAD = 20_000  # jobs finished beyond the prefix; every commit has to go through them
MOST_KEPT = 1_000  # jobs in hand beside each other, until it is counted whether the metadata have room for them


class Backlog:
    """The records of one assigned partition, from their arrival to their end. The thread that pops owns it.

    Attributes:
        finish: ends a job that was taken from here, while `is_plain`.
        chunks: what no job was begun of, the oldest first; `current` is the chunk that is being begun.
        order: which jobs wait behind others.
        ready: jobs that waited behind others and may run now.
        waiting: how many jobs that were begun wait for their time or for a commit that announces their start, or were
            dropped while they waited: they are not in hand, though they have not come to an end.
        kept: how many jobs are in hand while others are popped.
        waits_for: a job that met a service which was away; nothing new begins before it.
        is_plain: nothing waits, is kept or is marked, so that settling is only finishing.
        is_closed: nothing new begins until something is settled.
        is_queued: it stands among the partitions that are to be worked.
        waits_for_commit: its next record lies beyond what the broker knows of, and waits for a commit.
        is_leaving: the partition is to be given away when no job of it is in hand any more.
        seen: all records before this offset have arrived here, as far as they are there and are to be run.
    """

    __slots__ = (
        "_taken",
        "_taken_bytes",
        "chunks",
        "current",
        "finish",
        "is_closed",
        "is_leaving",
        "is_plain",
        "is_queued",
        "kept",
        "order",
        "partition",
        "ready",
        "seen",
        "settling",
        "waiting",
        "waits_for",
        "waits_for_commit",
    )

    def __init__(self, partition: Partition, settling: Settling, ordering: Ordering) -> None:
        self.partition = partition
        self.settling = settling
        self.finish = partition.tracker.finish
        self.chunks: deque[Chunk] = deque()
        self.current: Chunk = []
        self.order: Order[KafkaDelivery] = Order(ordering)
        self.ready: deque[KafkaDelivery] = deque()
        self.waiting = 0
        self.kept = 0
        self.waits_for: KafkaDelivery | None = None
        self.is_closed = False
        self.is_queued = False
        self.waits_for_commit = False
        self.is_leaving = False
        self.seen = -1
        self._taken = 0
        self._taken_bytes = 0
        self.is_plain = False
        self.settle_down()

    # what others read ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def unbegun(self) -> int:
        """Records that no job was begun of yet, but for the chunk at hand."""
        return self.partition.intake.count - self._taken

    @property
    def unbegun_bytes(self) -> int:
        """Their size."""
        return self.partition.intake.size - self._taken_bytes

    @property
    def in_hand(self) -> int:
        """Jobs that were begun, have not come to an end, and wait for nothing."""
        waiting = self.order.held + len(self.ready) + self.waiting
        return max(0, self.partition.tracker.left - self.unbegun - len(self.current) - waiting)

    @property
    def held(self) -> int:
        """Jobs that wait behind others of their order key."""
        return self.order.held

    # beginning ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def next_offset(self) -> int:
        """The offset of the first record that no job was begun of; there must be one."""
        return int(self.chunks[0][-1].offset())

    @property
    def has_suspects(self) -> bool:
        """Whether jobs are left that an earlier owner has died with; they run before all else."""
        return bool(self.partition.marks.suspects)

    def may_begin(self) -> bool:
        """Whether a further job may begin, as far as memory, order and the room of the commit's metadata go."""
        if self.waits_for is not None or self.order.is_full:
            return False
        partition = self.partition
        tracker, marks = partition.tracker, len(partition.marks)
        ahead = tracker.ahead
        if not ahead and not marks and self.kept < MOST_KEPT:
            return True
        if ahead >= MOST_AHEAD:
            return False
        position = tracker.position
        span = partition.reach.begun - (partition.position if position is None else position)
        return fits(tracker.left - self.unbegun - len(self.current), span, marks)

    def take_chunk(self, chunk: Chunk) -> None:
        """Begin with these records; what is left of the chunk that was here before is dropped."""
        self._taken += len(chunk)
        self._taken_bytes += sum(map(len, chunk))
        self.partition.reach.begin(chunk[0].offset() + 1)
        self.current = chunk

    def put_back_chunk(self) -> None:
        """Have what is left of the chunk at hand begun later."""
        chunk, self.current = self.current, []
        if chunk:
            self._taken -= len(chunk)
            self._taken_bytes -= sum(map(len, chunk))
            self.chunks.appendleft(chunk)

    def take(self) -> KafkaDelivery:
        """Begin the next job of the chunk at hand."""
        delivery = KafkaDelivery(self, self.current.pop())
        if not self.is_plain and self.partition.marks.take_suspect(delivery.offset):
            delivery.is_suspect = True
        return delivery

    # settling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def settle_down(self) -> None:
        """Look whether settling is only finishing again."""
        marks = self.partition.marks
        is_busy = self.kept or self.order or marks or self.ready or self.waits_for
        self.is_plain = not is_busy and marks.careful_until < 0

    def drop(self) -> None:
        """Forget what is here, as the partition is being given away, or is not ours any more."""
        self.put_back_chunk()
        self.chunks.clear()
        self.waiting += self.order.clear() + len(self.ready)
        self.ready.clear()
        self.waits_for = None
        self.is_closed = self.waits_for_commit = False
