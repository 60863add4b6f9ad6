"""Which job runs next: topics by their weights, order keys one job at a time, retries when they are due."""

import math
import time
from collections import deque
from collections.abc import Collection, Mapping

from lamplighter.contracts import HasFurtherStart
from lamplighter.kafka.partitions.partition import Chunk, Partition
from lamplighter.kafka.scheduling.backlog import Backlog
from lamplighter.kafka.scheduling.careful import CarefulStart
from lamplighter.kafka.scheduling.clock import Clock, WallClock
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.departures import Copies, Departures
from lamplighter.kafka.scheduling.failures import blocked, blocks_for_too_long, mark_of, take_over
from lamplighter.kafka.scheduling.order import Ordering
from lamplighter.kafka.scheduling.turns import Turns, next_by_weight
from lamplighter.kafka.scheduling.waiting import NEVER, Waiting

LONGEST = 1e9  # seconds that a mark tells of; a payload may ask for a wait of which there are no milliseconds
NOTHING: Chunk = []


class Scheduler:
    """What is fetched and not begun, what waits to run again, and what waits behind another.

    The polling thread leaves word by `arrived` and `look_at`; all else is for the thread that pops. Nothing that a job
    costs grows with the number of partitions, or of the jobs that wait.
    """

    def __init__(
        self,
        weights: Mapping[str, int],
        *,
        ordering: Ordering = "key",
        block_limit: float = 0,
        copies: Copies | None = None,
        in_place: float = NEVER,
        has_further_start: HasFurtherStart | None = None,
        slots: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self._topics = self._going = [Turns(name, weight) for name, weight in weights.items()]
        self._by_name = {topic.name: topic for topic in self._topics}
        self._waiting = Waiting()
        self._due, self._ready = self._waiting.due, self._waiting.ready  # never bound anew
        self.next_due = self._waiting.next_due
        self._only = self._topics[0] if len(self._topics) == 1 else None
        self._ordering: Ordering = ordering
        self._block_limit = block_limit
        self._clock = clock or WallClock()
        self._departures = Departures(
            copies, in_place=in_place, keep=self.keep, wait=self._wait_in_place, finish=self.finish
        )
        self._careful = CarefulStart(has_further_start, slots=slots)
        self._inbox: deque[tuple[Backlog, Chunk, int]] = deque()
        self._backlogs: set[Backlog] = set()
        self._odd: set[Backlog] = set()  # those that are not plain
        self._kept, self._is_others_turn = 0, False
        # The chunk that `pop` takes from without looking at anything else; it is the one that is worked now.
        self._plain: Chunk = NOTHING
        self._source: Backlog | None = None

    # called by other threads ──────────────────────────────────────────────────────────────────────────────────────────

    def pause(self, names: Collection[str]) -> None:
        """Begin nothing of these topics; of those that were named before begin what there is."""
        self._waiting.wanted = frozenset(names)
        self._plain = NOTHING  # after the other: see `_go_on_plainly`

    def arrived(self, partition: Partition, chunk: Chunk) -> None:
        """Records of a partition, the oldest last; before the end of the last one nothing else is there."""
        self._inbox.append((self._backlog_of(partition), chunk, partition.intake.expected))

    def look_at(self, partition: Partition) -> None:
        """A commit of a partition was acknowledged, it was read to its end, is to be given away, or is lost."""
        if partition.backlog is not None or (partition.marks and partition.intake.has_begun):  # their records are gone
            self._inbox.append((self._backlog_of(partition), NOTHING, partition.intake.expected))
        elif not partition.is_open:
            partition.has_left = True  # nothing of it was ever here

    def _backlog_of(self, partition: Partition) -> Backlog:
        backlog = partition.backlog
        if backlog is None:
            backlog = partition.backlog = Backlog(partition, self, self._ordering)
        assert isinstance(backlog, Backlog)  # nobody else makes one
        return backlog

    # popping ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def pop(self) -> KafkaDelivery | None:
        """The next delivery that may run now; None where there is none."""
        chunk = self._plain
        if chunk:
            source = self._source
            if source.partition.is_open:  # type: ignore[union-attr]  # a chunk has a source
                return KafkaDelivery(source, chunk.pop())  # type: ignore[arg-type]
        return self._pop()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left here, neither waiting nor in hand, but for what is paused."""
        if self._kept or self._careful or self._inbox or self._waiting.wanted is not self._waiting.paused:
            return False
        if any(topic.has_something for topic in self._going):
            return False
        may_begin = self._waiting.may_begin
        if any(may_begin(delivery.partition) for _, _, delivery in self._due):
            return False
        return not any(one.chunks or one.held or one.ready for one in self._backlogs if may_begin(one.partition))

    def _pop(self) -> KafkaDelivery | None:
        self._plain = NOTHING
        self.look()
        while not self._careful:
            delivery = self._next()
            if delivery is None:
                return None
            backlog = delivery.source
            assert isinstance(backlog, Backlog)  # this scheduler made it
            if not backlog.partition.is_open:
                backlog.waiting += 1  # the next owner begins it
                continue
            if backlog.is_plain:
                self._go_on_plainly()
                return delivery
            self._odd.add(backlog)
            if self._may_run(delivery, backlog):
                return delivery
        return self._start_carefully()

    def look(self) -> None:
        """Take what the polling thread has left word of, the reports of copies, and what is paused."""
        if self._waiting.wanted is not self._waiting.paused:
            self._heed_pauses()
        inbox = self._inbox
        while inbox:
            self._take_in(*inbox.popleft())
        if self._departures.are_under_way:
            self._departures.take_reports()

    def _heed_pauses(self) -> None:
        paused = self._waiting.heed()
        careful = self._careful.waiting
        if careful is not None and careful.partition.topic in paused:
            self._careful.let_go(careful)
            self._waiting.put_aside(careful)
        self._going = [topic for topic in self._topics if topic.name not in paused]
        self._only = self._going[0] if len(self._going) == 1 else None

    def _take_in(self, backlog: Backlog, chunk: Chunk, until: int) -> None:
        partition = backlog.partition
        if not partition.is_open:
            self._drop(backlog)
            return
        marks = partition.marks
        if marks:
            offsets = [message.offset() for message in chunk]
            marks.forget_gone(offsets, since=backlog.seen, until=until)
        backlog.seen = until
        self._backlogs.add(backlog)
        if chunk:
            backlog.chunks.append(chunk)
        self._settle_down(backlog)
        if backlog.waits_for_commit and partition.reach.may_begin(backlog.next_offset):
            backlog.waits_for_commit = False
        if backlog.chunks and not (backlog.is_closed or backlog.waits_for_commit):
            self._by_name[partition.topic].add(backlog)

    def _drop(self, backlog: Backlog) -> None:
        """The partition is to be given away, or is gone."""
        backlog.is_leaving = True
        self._backlogs.discard(backlog)
        self._odd.discard(backlog)
        waiting = self._careful.waiting
        if waiting is not None and waiting.source is backlog:
            self._careful.let_go(waiting)
        backlog.drop()
        self._look_whether_it_has_left(backlog)

    def _look_whether_it_has_left(self, backlog: Backlog) -> None:
        if backlog.is_leaving and not backlog.in_hand:
            backlog.partition.has_left = True

    def _go_on_plainly(self) -> None:
        """Where nothing waits anywhere, and one topic alone needs no turns, the next jobs are those of the chunk."""
        only = self._only
        if only is None or self._odd or self._due or self._kept or only.backlog is None:
            return
        if only.backlog.is_plain:
            self._source, self._plain = only.backlog, only.backlog.current
            if self._waiting.wanted is not self._waiting.paused:  # it was paused meanwhile
                self._plain = NOTHING

    def _next(self) -> KafkaDelivery | None:
        # What is tried again without a wait, and without end, must leave every other turn to others.
        other, self._is_others_turn = self._new() if self._is_others_turn else None, False
        while other is None and self._due and (delivery := self._waiting.pop_due()) is not None:
            self._backlog_of(delivery.partition).waiting -= 1
            if delivery.leaves_by <= time.monotonic():
                self._is_others_turn = delivery.retries > 1
                return delivery
            self._departures.send_off(delivery)
        return other or self._new()

    def _new(self) -> KafkaDelivery | None:
        if self._ready and (delivery := self._waiting.pop_ready()) is not None:
            return delivery
        return self._only.next() if self._only is not None else next_by_weight(self._going)

    def _may_run(self, delivery: KafkaDelivery, backlog: Backlog) -> bool:
        """Whether a delivery of a partition that is not plain may run now; else it is where it waits."""
        if not delivery.has_order_key:
            self._place(delivery, backlog)
            if backlog.order.must_wait(delivery):
                backlog.order.wait(delivery)
                return False
        if not delivery.is_read:
            delivery.is_read = True
            if delivery.offset in backlog.partition.marks and self._must_wait(delivery):
                return False
        if delivery.is_suspect:
            self._careful.put(delivery)
            backlog.waiting += 1
            return False
        return True

    def _must_wait(self, delivery: KafkaDelivery) -> bool:
        """Take over what an earlier owner has left about a delivery; whether it has to wait because of it."""
        mark = delivery.partition.marks[delivery.offset]
        take_over(mark, delivery)
        wait = mark.due / 1000 - self._clock.now()
        if wait <= 0:
            return False
        if self._may_travel(delivery, wait):
            # The last owner died while its copy was on its way; nobody knows whether that has arrived.
            self._departures.depart(delivery, wait)
        else:
            self._wait(delivery, wait)
        return True

    def _start_carefully(self) -> KafkaDelivery | None:
        delivery = self._careful.start(kept=self._kept)
        if delivery is not None:
            self._backlog_of(delivery.partition).waiting -= 1
        return delivery

    # settling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep(self, delivery: KafkaDelivery) -> None:
        """It stays in hand while others are popped."""
        if not delivery.is_kept:
            delivery.is_kept = True
            self._backlog_of(delivery.partition).kept += 1
            self._kept += 1
        self._hold(delivery)

    def finish(self, delivery: KafkaDelivery) -> None:
        """It is done; what waited behind it may run."""
        partition, backlog = delivery.partition, self._backlog_of(delivery.partition)
        self._let_go(delivery, backlog)
        if partition.lost:
            return
        partition.tracker.finish(delivery.offset)
        mark = partition.marks.pop(delivery.offset) if partition.marks else None
        if mark is not None and mark.in_hand:
            # Until the broker knows that it has ended, a crash would be blamed on it.
            partition.tell()
        heir = backlog.order.let_go(delivery)
        if heir is not None:
            self._make_ready(heir, backlog)
        self._settle_down(backlog)

    def release(self, delivery: KafkaDelivery, delay: float, *, counted: bool) -> None:
        """It is to be popped again after `delay` seconds; one that is not counted met a service that is away."""
        partition, backlog = delivery.partition, self._backlog_of(delivery.partition)
        self._let_go(delivery, backlog)
        if counted:
            delivery.retries += 1
        else:
            delivery.excused += 1
        if partition.lost:
            return
        delivery.is_read = True
        self._hold(delivery)
        due = math.ceil((self._clock.latest() + min(delay, LONGEST)) * 1000)
        partition.marks.put(delivery.offset, mark_of(delivery, due=due))
        partition.tell()
        if counted and self._may_travel(delivery, delay):
            self._departures.depart(delivery, delay)
            return
        if not counted:
            # What comes next would meet the same service: it is spared the attempt.
            backlog.waits_for = delivery
        elif delivery.failure is None and blocks_for_too_long(delivery, delay, self._block_limit):
            delivery.failure = blocked(delivery, self._block_limit)
            delay = 0
        self._wait(delivery, delay)

    @property
    def has_copies_under_way(self) -> bool:
        """Whether an original waits for the report of its copy."""
        return self._departures.are_under_way

    def put_back(self, delivery: KafkaDelivery) -> None:
        """It is to be popped again before all that must follow it."""
        backlog = self._backlog_of(delivery.partition)
        self._let_go(delivery, backlog)
        if backlog.partition.lost:
            return
        self._go_odd(backlog)
        if not delivery.has_order_key:
            self._place(delivery, backlog)
        if backlog.order.put_back(delivery):
            # If it holds nothing, another of its key may come to wait before it is popped: it is looked at anew then.
            delivery.has_order_key = delivery.holds_order
            self._make_ready(delivery, backlog, is_first=True)
        self._look_whether_it_has_left(backlog)

    def count_crash(self, delivery: KafkaDelivery) -> bool:
        """The last commit tells the next owner that this one has died of it; False where it has been settled."""
        partition = delivery.partition
        is_released = delivery.leaves_by > time.monotonic() or self._waiting.has(delivery)
        if is_released or partition.lost or partition.tracker.has_finished(delivery.offset):
            return False
        delivery.retries, delivery.has_crashed = delivery.retries + 1, True
        partition.marks.put(delivery.offset, mark_of(delivery))
        partition.tell()
        return True

    def follows(self, delivery: KafkaDelivery, other: KafkaDelivery) -> bool:
        """Whether the other one has to be done before this one."""
        if delivery.partition is not other.partition or delivery.offset <= other.offset:
            return False
        order = self._backlog_of(delivery.partition).order
        key = order.key_of(delivery.message)
        return key is not None and key == order.key_of(other.message)

    def _may_travel(self, delivery: KafkaDelivery, delay: float) -> bool:
        return self._departures.may_travel(delivery, delay, is_ordered=self._ordering != "none")

    def _wait_in_place(self, delivery: KafkaDelivery, delay: float) -> None:
        """An original whose copy was refused."""
        self._let_go(delivery, self._backlog_of(delivery.partition))
        if not delivery.partition.lost:
            self._wait(delivery, delay)

    def _wait(self, delivery: KafkaDelivery, delay: float) -> None:
        backlog = self._backlog_of(delivery.partition)
        self._hold(delivery)
        self._waiting.put(delivery, time.monotonic() + delay)
        backlog.waiting += 1
        self._look_whether_it_has_left(backlog)

    def _let_go(self, delivery: KafkaDelivery, backlog: Backlog) -> None:
        if delivery.is_kept:
            delivery.is_kept = False
            backlog.kept -= 1
            self._kept -= 1
        self._careful.let_go(delivery)
        if backlog.waits_for is delivery:
            backlog.waits_for = None
            self._ready.extend([backlog] * len(backlog.ready))

    def _hold(self, delivery: KafkaDelivery) -> None:
        backlog = self._backlog_of(delivery.partition)
        self._go_odd(backlog)
        if not delivery.has_order_key:
            self._place(delivery, backlog)
        backlog.order.hold(delivery)

    def _place(self, delivery: KafkaDelivery, backlog: Backlog) -> None:
        delivery.has_order_key = True
        delivery.order_key = backlog.order.key_of(delivery.message)

    def _make_ready(self, delivery: KafkaDelivery, backlog: Backlog, *, is_first: bool = False) -> None:
        if not backlog.partition.is_open:
            backlog.waiting += 1  # the next owner begins it
        elif is_first:
            backlog.ready.appendleft(delivery)
            self._ready.appendleft(backlog)
        else:
            backlog.ready.append(delivery)
            self._ready.append(backlog)

    def _go_odd(self, backlog: Backlog) -> None:
        backlog.is_plain = False
        self._odd.add(backlog)
        self._plain = NOTHING

    def _settle_down(self, backlog: Backlog) -> None:
        """Something of a partition was settled: it may be plain again, begin new jobs again, or have left."""
        backlog.settle_down()
        if backlog.is_plain:
            self._odd.discard(backlog)
        if backlog.is_closed and backlog.may_begin():
            backlog.is_closed = False
            if backlog.chunks:
                self._by_name[backlog.partition.topic].add(backlog, is_next=True)
        self._look_whether_it_has_left(backlog)
