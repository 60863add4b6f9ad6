"""Which delivery comes next: topics by their weights, lanes in their order, waiting ones when they are due."""

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Mapping

from lamplighter.errors import LaneBlocked, MessageTooLarge, QueueError, UnsupportedDelay
from lamplighter.kafka.delays.copies import AGAIN, Copies
from lamplighter.kafka.partitions.offset_map import Mark
from lamplighter.kafka.partitions.partition import Chunk, Partition, Waiting
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.turns import Line, next_by_weight
from lamplighter.queue.delivery import HasFurtherStart

log = logging.getLogger(__name__)

NEVER = float("inf")
LONGEST = 1e9  # seconds that a mark tells of; a payload may ask for a wait of which there are no milliseconds


class Lanes:
    """What is fetched and not begun, what waits to run again, and what waits behind another.

    A lane is what has to be kept in order: a key, or a whole partition. Only `arrived` is called by the polling
    thread; whoever pops owns the rest.
    """

    def __init__(
        self,
        weights: Mapping[str, int],
        *,
        block_limit: float = 0,
        block_action: str = "fail",
        copies: Copies | None = None,
        in_place: float = NEVER,
        has_further_start: HasFurtherStart | None = None,
        slots: int = 1,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lines = [Line(name, weight) for name, weight in weights.items()]
        self._by_name = {line.name: line for line in self._lines}
        self._only = self._lines[0]
        self._block_limit = block_limit
        self._block_action = block_action
        self._copies = copies
        self._in_place = in_place
        self._has_further_start = has_further_start
        self._slots = slots
        self._now = now
        self._is_plain = len(self._lines) == 1
        self._odd: dict[Partition, None] = {}  # the partitions that are not plain, in the order in which they became so
        self._due: list[tuple[float, int, KafkaDelivery]] = []
        self._numbers = itertools.count()
        self._kept = 0
        self._suspect: KafkaDelivery | None = None  # it waits to be started, or is alone in hand
        self._is_alone_in_hand = self._is_others_turn = False

    # called by the polling thread ──────────────────────────────────────────────────────────────────────────────────

    def arrived(self, partition: Partition, chunk: Chunk) -> None:
        """Messages of a partition, the oldest last."""
        partition.lanes = self
        self._by_name[partition.topic].arrived(partition, chunk)

    # popping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def pop(self) -> KafkaDelivery | None:
        """The next delivery that may run now; None where there is none."""
        if self._is_plain:
            line = self._only
            chunk, partition = line.chunk, line.partition
            # A partition that was not plain when it came is found out when its chunk is begun.
            if chunk and partition is not None and partition.is_plain and not partition.lost:
                return KafkaDelivery(partition, chunk.pop())
        return self._pop()

    def next_due(self) -> float:
        """When the next delivery that waits is due, on the monotonic clock."""
        return self._due[0][0] if self._due else NEVER

    def is_empty(self) -> bool:
        """Whether nothing is left here, neither waiting nor in hand."""
        if self._kept or self._suspect is not None or not all(line.is_empty() for line in self._lines):
            return False
        if any(not delivery.partition.lost for _, _, delivery in self._due):
            return False
        return not any(partition.held or partition.ready for partition in self._odd if not partition.lost)

    def _pop(self) -> KafkaDelivery | None:
        if self._copies is not None and self._copies.under_way:
            self.take_reports()
        while self._suspect is None:
            delivery = self._next()
            if delivery is None:
                self._look_whether_plain()
                return None
            if delivery.partition.lost:
                continue
            if not delivery.partition.is_plain:
                self._odd[delivery.partition] = None
                self._is_plain = False
                if not self._may_run(delivery):
                    continue
            return delivery
        return self._start_suspect()

    def _next(self) -> KafkaDelivery | None:
        # What is tried again without a wait, and without end, must leave every other turn to others.
        other, self._is_others_turn = self._new() if self._is_others_turn else None, False
        while other is None and self._due and self._due[0][0] <= time.monotonic():
            delivery = heapq.heappop(self._due)[2]
            if delivery.leaves_by <= time.monotonic() or delivery.partition.lost:
                self._is_others_turn = delivery.retries > 1
                return delivery
            self._send_off(delivery)
        return other or self._new()

    def _new(self) -> KafkaDelivery | None:
        for partition in self._odd:
            if partition.ready and partition.waits_for is None:
                return partition.ready.popleft()
        if len(self._lines) == 1:
            self._only.unpark()
            return self._only.next()
        return next_by_weight(self._lines)

    def _may_run(self, delivery: KafkaDelivery) -> bool:
        """Whether a delivery of a partition that is not plain may run now; else it is where it waits."""
        partition = delivery.partition
        if not delivery.is_placed:
            self._place(delivery)
            if delivery.lane is not None and delivery.lane in partition.blocked:
                self._hold_back(delivery)
                return False
        if not delivery.is_read:
            delivery.is_read = True
            if delivery.offset in partition.marks and self._must_wait(delivery):
                return False
        if delivery.is_suspect:
            # Beside others it is blamed for no more than one crash: the next time it is alone.
            delivery.may_have_company = (
                not delivery.has_crashed and self._has_further_start is not None and self._has_further_start(delivery)
            )
            self._suspect, self._is_alone_in_hand = delivery, False
            return False
        return True

    def _must_wait(self, delivery: KafkaDelivery) -> bool:
        """Take over what an earlier owner has left about a delivery; whether it has to wait because of it."""
        mark = delivery.partition.marks[delivery.offset]
        delivery.retries = mark.retries
        delivery.has_crashed = mark.has_crashed
        wait = mark.due / 1000 - self._now()
        if wait > 0 and self._travels(delivery, wait):
            # The last owner died while its copy was on its way; nobody knows whether that has arrived.
            self._depart(delivery, wait)
        elif wait > 0:
            self._wait(delivery, wait)
        return wait > 0

    def _start_suspect(self) -> KafkaDelivery | None:
        """Start what may have killed an owner, when the broker knows of it, and before it is failed once all alone.

        An owner that was killed from outside may have had thousands in hand: one after the other they would take hours.
        Beside it are no more than there are slots, though others wait for their pushes alone: the next owner has to run
        as many one by one if this one is killed, too.
        """
        delivery = self._suspect
        if delivery is None or self._is_alone_in_hand:
            return None
        partition = delivery.partition
        if partition.lost:
            self._suspect = None
            return self._pop()
        if self._kept >= (self._slots if delivery.may_have_company else 1):
            return None
        if delivery.version == 0:
            partition.marks[delivery.offset] = Mark(
                delivery.retries + 1, in_hand=True, has_crashed=delivery.has_crashed
            )
            delivery.version = partition.tell()
        if partition.acked < delivery.version:
            return None
        delivery.version = 0
        if delivery.may_have_company:
            self._suspect = None
        else:
            self._is_alone_in_hand = True
        return delivery

    # settling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep(self, delivery: KafkaDelivery) -> None:
        """It stays in hand while others are popped."""
        if not delivery.is_kept:
            delivery.is_kept = True
            delivery.partition.kept += 1
            self._kept += 1
        self._block(delivery)

    def finish(self, delivery: KafkaDelivery) -> None:
        """It is done; what waited behind it in its lane may run."""
        partition = delivery.partition
        self._let_go(delivery)
        if partition.lost:
            return
        partition.tracker.finish(delivery.offset)
        if partition.marks:
            mark = partition.marks.pop(delivery.offset, None)
            if mark is not None and mark.in_hand:
                # Until the broker knows that it has ended, a crash would be blamed on it.
                partition.tell()
        partition.stoppers.discard(delivery)
        if delivery.is_blocking:
            self._unblock(partition, delivery)
        partition.settle_down()
        if partition.is_plain:
            self._look_whether_plain()

    def release(self, delivery: KafkaDelivery, delay: float, *, counted: bool) -> None:
        """It is to be popped again after `delay` seconds; one that is not counted met a service that is away."""
        partition = delivery.partition
        self._let_go(delivery)
        if counted:
            delivery.retries += 1
        else:
            delivery.excused += 1
        if partition.lost:
            return
        delivery.is_read = True
        self._block(delivery)
        due = self._now() + min(delay, LONGEST)
        partition.marks[delivery.offset] = Mark(delivery.retries, round(due * 1000), has_crashed=delivery.has_crashed)
        partition.tell()
        if counted and self._travels(delivery, delay):
            self._depart(delivery, delay)
            return
        if not counted:
            # What comes next would meet the same service: it is spared the attempt.
            partition.waits_for = delivery
        elif delivery.failure is None and self._is_blocked_for_too_long(delivery, delay):
            if self._block_action == "stop":
                self._stop(delivery)
            else:
                delivery.failure = LaneBlocked(_too_long(delivery, self._block_limit))
                delay = 0
        self._wait(delivery, delay)

    @property
    def has_copies_under_way(self) -> bool:
        """Whether an original waits for the report of its copy."""
        return self._copies is not None and self._copies.under_way > 0

    def take_reports(self) -> None:
        """Finish what has gone on as a copy, now that the brokers have that one."""
        for delivery, error in self._copies.reported() if self._copies is not None else ():
            if error is not None:
                self._on_refused_copy(delivery, error)
            else:
                self.finish(delivery)

    def _travels(self, delivery: KafkaDelivery, delay: float) -> bool:
        """Whether a retry goes on as a copy. A failure that is still to be recorded is known here alone."""
        if self._copies is None or delivery.failure is not None or delay <= 0:
            return False
        return delay > self._in_place or delivery.partition.ordering == "none"

    def _depart(self, delivery: KafkaDelivery, delay: float) -> None:
        delivery.leaves_by = time.monotonic() + delay
        self._send_off(delivery)

    def _send_off(self, delivery: KafkaDelivery) -> None:
        """Publish a copy; the original stays in hand until the brokers have it."""
        assert self._copies is not None  # only such lanes let something travel
        self.keep(delivery)
        try:
            self._copies.send(delivery, max(0.001, delivery.leaves_by - time.monotonic()))
        except QueueError as error:
            self._on_refused_copy(delivery, error)

    def _on_refused_copy(self, delivery: KafkaDelivery, error: QueueError) -> None:
        """It waits in its place, and the copy is tried again until it is due; what never fits has failed."""
        self._let_go(delivery)
        if delivery.partition.lost:
            return
        left = max(0.0, delivery.leaves_by - time.monotonic())
        if isinstance(error, MessageTooLarge | UnsupportedDelay):
            delivery.failure, delivery.leaves_by, left = error, 0.0, 0.0
        else:
            log.warning(
                "a retry can't be published; it waits in its place",
                extra={"position": delivery.position, "due_in": round(left, 1), "reason": str(error)},
            )
        self._wait(delivery, min(AGAIN, left))

    def put_back(self, delivery: KafkaDelivery) -> None:
        """It is to be popped again before all that follows it in its lane."""
        partition = delivery.partition
        self._let_go(delivery)
        if partition.lost:
            return
        partition.is_plain = self._is_plain = False
        self._odd[partition] = None
        if not delivery.is_placed:
            self._place(delivery)
        waiting = partition.blocked.get(delivery.lane)
        if waiting is None:
            # Another of its lane may come to wait before it is popped: it is looked at anew then.
            delivery.is_placed = False
        elif delivery.is_blocking and waiting.holders > 1:
            delivery.is_blocking = False
            waiting.holders -= 1
        if waiting is None or delivery.is_blocking:
            partition.ready.appendleft(delivery)
        else:
            self._hold_back(delivery, is_first=True)

    def follows(self, delivery: KafkaDelivery, other: KafkaDelivery) -> bool:
        """Whether the other one has to be done before this one."""
        partition = delivery.partition
        if partition is not other.partition or delivery.offset <= other.offset:
            return False
        lane = partition.lane_of(delivery.message)
        return lane is not None and lane == partition.lane_of(other.message)

    def _wait(self, delivery: KafkaDelivery, delay: float) -> None:
        self._block(delivery)
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._numbers), delivery))

    def _let_go(self, delivery: KafkaDelivery) -> None:
        if delivery.is_kept:
            delivery.is_kept = False
            delivery.partition.kept -= 1
            self._kept -= 1
        if self._suspect is delivery:
            self._suspect = None
        if delivery.partition.waits_for is delivery:
            delivery.partition.waits_for = None

    def _block(self, delivery: KafkaDelivery) -> None:
        partition = delivery.partition
        partition.is_plain = self._is_plain = False
        self._odd[partition] = None
        if not delivery.is_placed:
            self._place(delivery)
        if delivery.lane is not None and not delivery.is_blocking:
            delivery.is_blocking = True
            partition.blocked.setdefault(delivery.lane, Waiting()).holders += 1

    def _place(self, delivery: KafkaDelivery) -> None:
        delivery.is_placed = True
        delivery.lane = delivery.partition.lane_of(delivery.message)

    def _unblock(self, partition: Partition, delivery: KafkaDelivery) -> None:
        waiting = partition.blocked[delivery.lane]
        waiting.holders -= 1
        if waiting.holders:
            return
        if not waiting:
            del partition.blocked[delivery.lane]
            return
        heir = waiting.popleft()
        heir.is_blocking = True
        waiting.holders = 1
        partition.held -= 1
        partition.held_bytes -= len(heir.message)
        partition.ready.append(heir)

    def _hold_back(self, delivery: KafkaDelivery, *, is_first: bool = False) -> None:
        partition = delivery.partition
        waiting = partition.blocked[delivery.lane]
        (waiting.appendleft if is_first else waiting.append)(delivery)
        partition.held += 1
        partition.held_bytes += len(delivery.message)

    def _is_blocked_for_too_long(self, delivery: KafkaDelivery, delay: float) -> bool:
        now = time.monotonic()
        delivery.blocked_since = delivery.blocked_since or now
        return bool(
            self._block_limit and delivery.lane is not None and now + delay - delivery.blocked_since > self._block_limit
        )

    def _stop(self, delivery: KafkaDelivery) -> None:
        if delivery not in delivery.partition.stoppers:
            delivery.partition.stoppers.add(delivery)
            log.warning(
                "a job has blocked its key for too long; its partition begins nothing new until it has ended",
                extra={"position": delivery.position, "key_block_limit": self._block_limit},
            )

    def _look_whether_plain(self) -> None:
        for partition in [partition for partition in self._odd if partition.is_plain or partition.lost]:
            del self._odd[partition]
        # One topic alone needs no turns.
        self._is_plain = not (self._odd or self._due or self._kept or self._suspect or len(self._lines) > 1)


def _too_long(delivery: KafkaDelivery, limit: float) -> str:
    return (
        f"The job at {delivery.position} has made the jobs behind it wait for as long as key_block_limit allows, "
        f"{limit:g} s, and still has to be tried again."
    )
