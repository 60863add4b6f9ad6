"""Breaks the framework on purpose, in each process of a round's project: CHAOS_SABOTAGE names how."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lamplighter import ServiceProvider
from lamplighter.contracts import Message
from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.delays.holding import Holding
from lamplighter.kafka.partitions.offset_map import OffsetMap
from lamplighter.kafka.partitions.tracker import Tracker
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.order import Order
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.database import DatabaseFailedJobs
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.failing import Failing

MORE = 2  # attempts beyond those that a job has


class SabotageProvider(ServiceProvider):
    """Registered in rounds that are to be found out, and in no others."""

    def register(self) -> None:
        """Break what is named."""
        KINDS[os.environ["CHAOS_SABOTAGE"]]()


def retry_dropped() -> None:
    """A job that is to run again is let go of."""

    def release(self: KafkaDelivery, delay: float, *, counted: bool = True) -> None:
        self.delete()

    _put(KafkaDelivery, release)


def delay_cut() -> None:
    """A delayed job, or a copy, is due after half of its time."""
    puts, records = Holding.put, Holding.record

    def put(self: Holding, message: Message, queue: str, delay: float) -> None:
        puts(self, message, queue, delay / 2)

    def record(self: Holding, message: Message, queue: str, delay: float) -> tuple[str, Message]:
        return records(self, message, queue, delay / 2)

    _put(Holding, put, record)


def order_off() -> None:
    """No job waits for another of its key."""

    def must_wait(self: Order[Any], job: Any) -> bool:
        return False

    def key_of(self: Order[Any], message: Any) -> None:
        return None

    _put(Order, must_wait, key_of)


def tries_ignored() -> None:
    """A job that fails is tried more often than it may be."""
    retries, starts = Policy.may_retry, Policy.may_start

    def may_retry(self: Policy, attempts: int) -> bool:
        return retries(self, attempts - MORE)

    def may_start(self: Policy, attempts: int, *, has_crashed: bool = False) -> bool:
        return starts(self, attempts - MORE, has_crashed=has_crashed)

    _put(Policy, may_retry, may_start)


def failed_lost() -> None:
    """Nothing is kept of a job that has failed."""

    def record(self: object, failure: Failure, *, id: str | None = None) -> str:
        return id or failure.identity

    _put(DatabaseFailedJobs, record)
    _put(DeadLetters, record)


def failed_changed() -> None:
    """A failed job is kept without its key and its headers."""
    for store in (DatabaseFailedJobs, DeadLetters):
        _forget_key(store)


def _forget_key(store: Any) -> None:
    records = store.record

    def record(self: object, failure: Failure, **options: Any) -> Any:
        return records(self, replace(failure, key=None, headers=[]), **options)

    _put(store, record)


def failed_told_twice() -> None:
    """failed() is called once more."""
    tells = Failing.tell

    def tell(self: Failing, start: Any, error: BaseException) -> None:
        tells(self, start, error)
        tells(self, start, error)

    _put(Failing, tell)


def committed_ahead() -> None:
    """The job that the commit waits for counts as done."""
    finishes, encodes = Tracker.finish, OffsetMap.encode

    def finish(self: Tracker, offset: int) -> None:
        finishes(self, offset)
        if self.first_open >= 0:
            self.position = self.first_open + 1

    def encode(self: OffsetMap, position: int) -> str:
        unfinished = [offset for offset in self.unfinished if offset >= position]
        marks = {offset: mark for offset, mark in self.marks.items() if offset >= position}
        return encodes(replace(self, unfinished=unfinished, marks=marks), position)

    _put(Tracker, finish)
    _put(OffsetMap, encode)


def starts_forgotten() -> None:
    """The next owner of a partition is told nothing of how often jobs were started."""
    encodes = OffsetMap.encode

    def encode(self: OffsetMap, position: int) -> str:
        return encodes(replace(self, reach=0, is_clean=True, marks={}), position)

    _put(OffsetMap, encode)


def _put(cls: type, *functions: Callable[..., Any]) -> None:
    """Methods in the place of those of the same names."""
    for function in functions:
        assert hasattr(cls, function.__name__), f"{cls.__name__} has no {function.__name__} any more"
        setattr(cls, function.__name__, function)


KINDS: Mapping[str, Callable[[], None]] = {
    kind.__name__: kind
    for kind in (
        *(retry_dropped, delay_cut, order_off, tries_ignored, failed_lost),
        *(committed_ahead, failed_changed, failed_told_twice, starts_forgotten),
    )
}
