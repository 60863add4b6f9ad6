"""Tells what nobody can read yet, since a transaction is open, from what is not read."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from lamplighter.kafka.monitoring.brokers import LAST, Answers
from lamplighter.kafka.partitions.partition_id import PartitionId
from lamplighter.kafka.settings.native import IsolationLevel, KafkaException

log = logging.getLogger(__name__)

ANSWER = 5.0  # seconds until brokers that don't answer count as answering that there is something to read
# What `transaction.max.timeout.ms` of the brokers is by default: after that they abort a transaction by themselves, and
# one that is open all the same hangs (KIP-664).
LONGEST = 900.0  # seconds


class Asked(Protocol):
    """The brokers, as far as they are asked here; nobody waits for the answers but who looks at them."""

    def ask(self, places: Iterable[PartitionId], spec: Any, *, isolation: IsolationLevel) -> Answers: ...


class OpenTransactions:
    """What holds partitions up that were read as far as anybody can; used by one thread, which never waits here.

    Args:
        isolation: what the worker reads of transactions that are open.
        tell_after: seconds for which a transaction is open until the log says so.
    """

    def __init__(self, brokers: Asked, isolation: IsolationLevel, *, tell_after: float) -> None:
        self._brokers = brokers
        self._isolation = isolation
        self._tell_after = tell_after
        self._asked: Answers = {}
        self._asked_at = 0.0
        self._since: dict[tuple[PartitionId, int], float] = {}
        self._told: set[tuple[PartitionId, int]] = set()
        self._told_late: set[tuple[PartitionId, int]] = set()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._asked)

    def forget_question(self) -> None:
        """Something goes on: the answer would be about what was."""
        self._asked = {}

    def hold(self, read_to: Mapping[PartitionId, int]) -> bool | None:
        """Whether there is nothing to read of partitions beyond these offsets; None while the brokers are asked.

        False where they don't answer: who can't reach them can't read, either.
        """
        now = time.monotonic()
        if not self._asked:
            self._asked_at = now
            try:
                self._asked = self._brokers.ask(read_to, LAST, isolation=self._isolation)
            except KafkaException:
                return False
            return None
        if not all(answer.done() for answer in self._asked.values()):
            if now - self._asked_at < ANSWER:
                return None
            self._asked = {}
            return False
        asked, self._asked = self._asked, {}
        try:
            ends = {(tp.topic, tp.partition): answer.result().offset for tp, answer in asked.items()}
        except KafkaException:
            return False
        if read_to.keys() - ends.keys():
            return self.hold(read_to)  # something was written to another partition meanwhile
        if any(ends[place] > offset for place, offset in read_to.items()):
            return False
        self._tell({(place, ends[place]) for place in read_to}, now)
        return True

    def _tell(self, held: set[tuple[PartitionId, int]], now: float) -> None:
        """Say it once of each transaction that takes long, and once more where it can't be one that is at work."""
        self._since = {one: self._since.get(one, now) for one in held}
        self._told &= held
        self._told_late &= held
        late = {one for one in held if now - self._since[one] >= self._tell_after}
        if news := late - self._told:
            self._told |= news
            log.warning(
                "an open transaction of another program holds partitions up; they are worked when it ends",
                extra={"partitions": _names(news)},
            )
        if news := {one for one in held if now - self._since[one] >= LONGEST} - self._told_late:
            self._told_late |= news
            log.error(
                "a transaction that was never ended holds partitions up; `kafka-transactions.sh find-hanging` of Kafka "
                "finds it, and `kafka-transactions.sh abort` ends it",
                extra={"partitions": _names(news), "seconds": round(LONGEST)},
            )


def _names(held: set[tuple[PartitionId, int]]) -> str:
    return ", ".join(f"{topic}[{number}] from {offset} on" for (topic, number), offset in sorted(held))
