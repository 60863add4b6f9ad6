"""Owners of two partitions that fetch, commit, run, retry, crash, leave and are cut off, in any order.

What must hold at each step: a job begins only below what the brokers have been told; jobs of one key run one after the
other, in the order of the log; nothing runs again that a commit has told as finished; only a finished prefix is
committed. And in the end: whatever has happened before, every job comes to its end.
"""

import os
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.partitions.partition import News, Partition
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.order import Ordering
from lamplighter.kafka.scheduling.scheduler import Scheduler

LONG = os.environ.get("FAULTS") == "long"
EXAMPLES, STEPS = (20_000, 80) if LONG else (100, 60)
PARTITIONS = (0, 1)
# The key of a record, and how many offsets before it have none: markers of transactions, what was compacted.
RECORDS = st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from([0, 0, 0, 1, 40, 10_000]))
SETTLED = {"again": "retry", "later": "retry", "excused": "excuse", "back": "put back"}  # by which trouble
# What may befall one run beside work and commits. Each has some of them only: with all of them little else happens.
TROUBLES = ("cut off", "trim", "refuse", "retry", "excuse", "put back", "crash", "leave", "give away", "fence")


@dataclass(frozen=True)
class Record:
    """A record of a log, as far as anybody looks at it."""

    at: int
    name: str | None
    epoch: int
    serial: int

    def offset(self) -> int:
        """Where it stands."""
        return self.at

    def key(self) -> bytes | None:
        """What it is kept in order by."""
        return None if self.name is None else self.name.encode()

    def leader_epoch(self) -> int:
        """Who led the partition when it was written."""
        return self.epoch

    def timestamp(self) -> tuple[int, int]:
        """When it was written."""
        return 1, self.serial

    def __len__(self) -> int:
        return 100


@dataclass
class Log:
    """A partition as the brokers have it: its records, the offset of the next one, what the group has committed."""

    records: list[Record] = field(default_factory=list)
    end: int = 0
    epoch: int = 0
    cut_off_at: list[int] = field(default_factory=list)  # where, for each epoch after the first
    committed: tuple[int, str] = (-1001, "")
    committed_epoch: int = 0
    finished: set[Record] = field(default_factory=set)  # those that came to their end in any owner
    told: set[Record] = field(default_factory=set)  # as far as the committed offset and metadata say so
    died_with: set[Record] = field(default_factory=set)  # what an owner had in hand when it was killed
    fetched: int = 0  # where the owner fetches next

    def start(self, position: int, epoch: int) -> int:
        """Where a client fetches that has read this epoch (KIP-320), as `auto.offset.reset: earliest` has it."""
        is_there = 0 <= position <= self.end
        return position if is_there and all(end >= position for end in self.cut_off_at[epoch:]) else 0


@dataclass
class Sent:
    """A commit on its way: what it says of each partition, and whose word that is."""

    news: dict[int, News]
    owners: dict[int, Partition]


class Owners(RuleBasedStateMachine):
    """One worker at a time, and the brokers beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.serial = 0
        self.clock = patch.multiple(time, monotonic=lambda: self.now, time=lambda: self.now)
        self.clock.start()
        self.logs = {number: Log() for number in PARTITIONS}
        self.troubles: frozenset[str] = frozenset()

    def teardown(self) -> None:
        """Everything comes to its end, whatever has happened."""
        try:
            if hasattr(self, "scheduler"):
                self.come_to_the_end()
        finally:
            self.clock.stop()

    @initialize(
        ordering=st.sampled_from(["none", "key", "key", "partition"]),
        slots=st.integers(1, 3),
        has_further_start=st.booleans(),
        troubles=st.frozensets(st.sampled_from(TROUBLES)),
        records=st.lists(RECORDS, max_size=20),
    )
    def begin(
        self,
        ordering: Ordering,
        slots: int,
        has_further_start: bool,
        troubles: frozenset[str],
        records: list[tuple[str | None, int]],
    ) -> None:
        self.troubles = troubles
        self.ordering: Ordering = ordering
        self.slots = slots
        self.has_further_start = has_further_start
        self.take_over()
        self.produce(0, records)
        self.fetch(0, 8)
        self.commit()
        if self.sent is not None:
            self.answer("taken")

    # owners ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def take_over(self) -> None:
        """A new owner begins, with what the last commits say."""
        self.scheduler = Scheduler(
            {"t": 1}, ordering=self.ordering, has_further_start=lambda _: self.has_further_start, slots=self.slots
        )
        self.partitions = {number: self.assigned(number) for number in PARTITIONS}
        self.in_hand: list[KafkaDelivery] = []
        self.sent: Sent | None = None

    def assigned(self, number: int) -> Partition:
        """A partition in a new assignment."""
        log = self.logs[number]
        offset, text = log.committed
        log.fetched = log.start(offset, log.committed_epoch)
        return Partition("kafka", "t", number, offset=offset, metadata=text, epoch=log.committed_epoch)

    def record_of(self, delivery: KafkaDelivery) -> Record:
        """What a delivery is about."""
        record: Any = delivery.message
        return record  # type: ignore[no-any-return]

    # the brokers ───────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(
        number=st.sampled_from(PARTITIONS),
        records=st.lists(RECORDS, min_size=1, max_size=12),
    )
    def produce(self, number: int, records: list[tuple[str | None, int]]) -> None:
        log = self.logs[number]
        for name, gap in records:
            self.serial += 1
            log.records.append(Record(log.end + gap, name, log.epoch, self.serial))
            log.end += gap + 1

    @precondition(lambda self: "cut off" in self.troubles)
    @rule(number=st.sampled_from(PARTITIONS), part=st.floats(0, 1))
    def cut_off(self, number: int, part: float) -> None:
        """The end of the log is lost, and somebody else leads the partition from now on."""
        log = self.logs[number]
        log.records = log.records[: round(len(log.records) * part)]
        log.end = log.records[-1].at + 1 if log.records else 0
        log.epoch += 1
        log.cut_off_at.append(log.end)
        log.fetched = log.start(log.fetched, log.epoch - 1)

    @precondition(lambda self: "trim" in self.troubles)
    @rule(number=st.sampled_from(PARTITIONS), part=st.floats(0, 1))
    def trim(self, number: int, part: float) -> None:
        """Retention takes the oldest records, which no one has to run any more then."""
        log = self.logs[number]
        gone, log.records = (
            log.records[: round(len(log.records) * part)],
            log.records[round(len(log.records) * part) :],
        )
        log.finished |= set(gone)

    # the polling thread ────────────────────────────────────────────────────────────────────────────────────────────

    @rule(number=st.sampled_from(PARTITIONS), count=st.integers(1, 8))
    def fetch(self, number: int, count: int) -> None:
        log, partition = self.logs[number], self.partitions[number]
        if not partition.is_open:
            return
        messages: list[Any] = [record for record in log.records if record.at >= log.fetched][:count]
        if not messages:
            self.read_end(number)
            return
        log.fetched = messages[-1].at + 1
        intake = partition.intake
        if not intake.has_begun:
            partition.bound(log.end)
            partition.go_on_where_cut(messages[0])
        if messages[0].at < intake.expected:
            partition.go_on_where_cut(messages[0])
            rewritten = intake.rewritten_from(messages, end=log.end)
            if rewritten >= 0:
                self.begin_from(number, rewritten)
                return
        chunk = partition.receive(messages)
        if chunk or partition.marks:
            self.scheduler.arrived(partition, chunk)

    def read_end(self, number: int) -> None:
        """The end of the log is told."""
        log, partition = self.logs[number], self.partitions[number]
        if log.end < partition.intake.expected:
            self.begin_from(number, log.end)
        else:
            log.fetched = log.end
            partition.read_to(log.end)
            self.scheduler.look_at(partition)

    def begin_from(self, number: int, offset: int) -> None:
        """The log was written anew from here on."""
        log, partition = self.logs[number], self.partitions[number]
        self.lose(number)
        position, text, epoch = partition.left_before(offset)
        log.told &= set(log.records)
        self.partitions[number] = Partition("kafka", "t", number, offset=position, metadata=text, epoch=epoch)
        self.partitions[number].begin_at(position)
        log.fetched = position

    def lose(self, number: int) -> None:
        """A partition is ours no more; what is in hand of it is dropped when it ends."""
        partition = self.partitions[number]
        partition.is_open = False
        partition.lost = True
        self.scheduler.look_at(partition)

    @precondition(lambda self: self.sent is None)
    @rule()
    def commit(self) -> None:
        news = {}
        for number, partition in self.partitions.items():
            partition.wants_commit = False
            found = partition.news()
            if found is not None:
                news[number] = found
        if news:
            self.sent = Sent(news, {number: self.partitions[number] for number in news})

    @precondition(lambda self: self.sent is not None)
    @rule(answer=st.sampled_from(["taken", "taken", "taken", "refused", "taken, and nobody hears of it"]))
    def answer(self, answer: str) -> None:
        sent, self.sent = self.sent, None
        assert sent is not None
        answer = answer if "refuse" in self.troubles else "taken"
        for number, news in sent.news.items():
            partition = self.partitions[number]
            if answer != "refused":
                self.keep(number, news)
            if partition is not sent.owners[number]:
                continue
            if answer == "taken":
                partition.acknowledge(news)
                self.scheduler.look_at(partition)
            else:
                partition.wants_commit = True

    def keep(self, number: int, news: News) -> None:
        """The brokers have a commit: it tells of nothing as finished that is not."""
        log, position, text = self.logs[number], news.position, news.text
        told = OffsetMap.decode(text, position)
        assert told is not None
        beyond = {r for r in log.records if position <= r.at < told.frontier and r.at not in set(told.unfinished)}
        log.told = {record for record in log.records if record.at < position} | beyond
        log.committed, log.committed_epoch = (position, text), max(0, news.epoch)
        wrong = {record for record in log.told if record.at < log.end} - log.finished
        assert not wrong or self.is_stale(number, position), wrong

    def is_stale(self, number: int, position: int) -> bool:
        """Whether a commit was made before the log was cut off, and has come after it."""
        return self.partitions[number].intake.expected > self.logs[number].end or self.logs[number].epoch > 0

    # the thread that pops ──────────────────────────────────────────────────────────────────────────────────────────

    @rule(count=st.integers(1, 3))
    def pop(self, count: int) -> None:
        for _ in range(min(count, self.slots - len(self.in_hand))):
            delivery = self.scheduler.pop()
            if delivery is not None:
                self.started(delivery)

    @rule(count=st.integers(1, 20))
    def work(self, count: int) -> None:
        """Jobs that come to their end one after the other."""
        for _ in range(count):
            delivery = self.scheduler.pop() if len(self.in_hand) < self.slots else None
            if delivery is None:
                return
            self.started(delivery)
            self.done(self.in_hand.pop())

    def started(self, delivery: KafkaDelivery) -> None:
        """What must hold when a job begins."""
        partition, record = delivery.partition, self.record_of(delivery)
        log = self.logs[partition.number]
        if partition.is_open:
            assert record.at < partition.reach.told, "it begins before the brokers know of it"
            if log.epoch == 0:
                assert record not in log.told, "it runs again, though a commit has told that it is finished"
                assert record not in log.died_with or self.is_told_of(log, record), "an owner may have died of it"
                self.look_at_order(delivery, record)
        if self.slots > 1:
            delivery.keep()
        self.in_hand.append(delivery)

    def is_told_of(self, log: Log, record: Record) -> bool:
        """Whether the brokers know that a job is in hand."""
        position, text = log.committed
        told = OffsetMap.decode(text, position)
        return told is not None and record.at in told.marks and told.marks[record.at].in_hand

    def look_at_order(self, delivery: KafkaDelivery, record: Record) -> None:
        """Those before it with the same order key are finished."""
        key = self.order_key(record)
        if key is None:
            return
        before = [
            r for r in self.logs[delivery.partition.number].records if r.at < record.at and self.order_key(r) == key
        ]
        open_ = [r for r in before if r not in self.logs[delivery.partition.number].finished]
        assert not open_, "it overtakes one of its key"

    def order_key(self, record: Record) -> Hashable:
        """What a record is kept in order by."""
        return {"none": None, "key": record.name, "partition": "all"}[self.ordering]

    @precondition(lambda self: self.in_hand)
    @rule(index=st.integers(0, 2), choice=st.integers(0, 11))
    def settle(self, index: int, choice: int) -> None:
        kinds = ["done", *(kind for kind, trouble in SETTLED.items() if trouble in self.troubles)]
        kind = kinds[choice % len(kinds)]
        delivery = self.in_hand.pop(index % len(self.in_hand))
        if kind == "again":
            delivery.release(0)
        elif kind == "later":
            delivery.release(30)
        elif kind == "excused":
            delivery.release(1, counted=False)
        elif kind == "back":
            delivery.put_back()
        else:
            self.done(delivery)

    def done(self, delivery: KafkaDelivery) -> None:
        """A job comes to its end."""
        delivery.delete()
        log = self.logs[delivery.partition.number]
        log.finished.add(self.record_of(delivery))
        log.died_with.discard(self.record_of(delivery))

    @rule(seconds=st.sampled_from([0.1, 1.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # endings ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: "crash" in self.troubles)
    @rule()
    def crash(self) -> None:
        for delivery in self.in_hand:
            if not delivery.partition.lost:
                self.logs[delivery.partition.number].died_with.add(self.record_of(delivery))
        self.take_over()

    @precondition(lambda self: "leave" in self.troubles)
    @rule()
    def leave(self) -> None:
        """In order: whatever is in hand comes to its end, and the last commit is taken."""
        for delivery in self.in_hand:
            self.done(delivery)
        for number in PARTITIONS:
            self.tell_the_last(number)
        self.take_over()

    def tell_the_last(self, number: int) -> None:
        """The last word of an owner of a partition."""
        news = self.partitions[number].news(is_last=True)
        if news is not None:
            self.keep(number, news)

    @precondition(lambda self: "give away" in self.troubles)
    @rule(number=st.sampled_from(PARTITIONS))
    def give_away(self, number: int) -> None:
        """A partition is revoked: what is in hand of it comes to its end first, and nothing of it begins meanwhile."""
        partition = self.partitions[number]
        partition.is_open = False
        self.scheduler.look_at(partition)
        for delivery in [delivery for delivery in self.in_hand if delivery.partition is partition]:
            assert not partition.has_left
            self.in_hand.remove(delivery)
            self.done(delivery)
        self.scheduler.look()
        assert partition.has_left
        self.tell_the_last(number)
        self.lose(number)
        self.partitions[number] = self.assigned(number)
        if self.sent is not None and number in self.sent.news:
            del self.sent.news[number]

    @precondition(lambda self: "fence" in self.troubles)
    @rule(number=st.sampled_from(PARTITIONS))
    def fence(self, number: int) -> None:
        """A partition is taken away without a word, and comes back."""
        self.lose(number)
        self.partitions[number] = self.assigned(number)

    # the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def an_empty_scheduler_has_nothing(self) -> None:
        if hasattr(self, "scheduler") and self.scheduler.is_empty:
            assert not any(self.is_ours(delivery) for delivery in self.in_hand if delivery.is_kept)

    def is_ours(self, delivery: KafkaDelivery) -> bool:
        """Whether its partition is not lost."""
        return not delivery.partition.lost

    def left(self) -> set[Record]:
        """What has to run."""
        return {record for log in self.logs.values() for record in log.records} - {
            record for log in self.logs.values() for record in log.finished
        }

    def is_committed(self) -> bool:
        """Whether no later owner would begin anything."""
        return all(log.committed[0] >= log.end for log in self.logs.values() if log.records)

    def come_to_the_end(self) -> None:
        """Run all that is left, with a broker that answers and jobs that end."""
        for delivery in self.in_hand:
            self.done(delivery)
        self.in_hand = []
        for number in range(30 + 6 * sum(len(log.records) for log in self.logs.values())):
            self.step(by_the_clock=number % 6 == 5)
            if not self.left() and self.is_committed() and self.scheduler.is_empty:
                break
        assert not self.left(), "nothing goes on any more"
        assert self.is_committed(), "what is finished is not committed"
        self.step(by_the_clock=False)  # the last looks
        assert not any(partition.marks for partition in self.partitions.values()), "a mark has no job"
        assert self.scheduler.is_empty

    def step(self, *, by_the_clock: bool) -> None:
        """One round of everything."""
        for number in PARTITIONS:
            self.fetch(number, 8)
        is_wanted = any(partition.wants_commit for partition in self.partitions.values())
        if self.sent is None and (is_wanted or by_the_clock):
            self.commit()
        if self.sent is not None:
            self.answer("taken")
        for _ in range(40):
            delivery = self.scheduler.pop()
            if delivery is None:
                break
            self.started(delivery)
            self.done(self.in_hand.pop())
        self.now += 31


def test_whatever_happens_every_job_comes_to_its_end_in_its_order() -> None:
    run_state_machine_as_test(
        Owners, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None)
    )
