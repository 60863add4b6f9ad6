"""What is left to do of each partition, and what holds it up: the numbers, wherever they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.reading.records import Seen

NONE_YET = -1


@dataclass(frozen=True, slots=True)
class Log:
    """A partition as its brokers have it.

    Attributes:
        start: the offset of the first record that is kept.
        stable: the end of what can be read; an open transaction begins there if it lies before `end`.
        end: the offset of the next record that will be written.
    """

    start: int
    stable: int
    end: int

    def first_open(self, committed: int, *, from_end: bool = False) -> int:
        """Where a group goes on that has committed this offset; it is negative where it has committed nothing.

        Args:
            from_end: a group that has committed nothing begins at the end.
        """
        if committed > self.end:
            return self.start  # the log has become shorter: what was committed was about other records
        if committed < 0 and from_end:
            return self.stable
        return max(committed, self.start)  # retention may have taken what was committed


@dataclass(frozen=True, slots=True)
class Retry:
    """A job that has been started before and is not finished, as the commit's metadata have it.

    Attributes:
        retries: how often it has been started.
        due: when it may run again, in milliseconds since 1970; 0 is at once.
        in_hand: it was started carefully, since it may have killed an owner, and had not ended at the commit.
    """

    offset: int
    retries: int
    due: int = 0
    in_hand: bool = False


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition, from what its group has committed to the end of what can be read.

    Attributes:
        committed: the first offset that is not finished; -1 where the group has committed nothing.
        end: the offset of the next record that will be written.
        lag: offsets from the committed one, or from where the group would begin, to the end of what can be read.
        in_transaction: offsets from there to `end`: nobody can read them before an open transaction ends.
        beyond: offsets beyond the committed one that are finished.
        empty: offsets without a record where the lag begins: markers of transactions, as far as was looked.
        held: offsets below finished ones that are neither finished nor to be retried: in hand, or behind another of
            their key.
        retries: what waits to run again, in the order of the offsets.
        is_clean: whether the last owner has left in order; None where it has left no word.
        blocking: the record that the commit waits for; -1 where there is none, or where it was not looked for.
        since: when that was written, in milliseconds since 1970; -1 where that is not known.
        finished_to: up to where the group had finished something.
    """

    topic: str
    number: int
    committed: int
    end: int
    lag: int
    in_transaction: int = 0
    beyond: int = 0
    empty: int = 0
    held: int = 0
    retries: Sequence[Retry] = ()
    is_clean: bool | None = None
    blocking: int = NONE_YET
    since: int = NONE_YET
    finished_to: int = NONE_YET

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"

    @property
    def left(self) -> int:
        """Jobs that are not finished, at most: offsets without a record between others count, too."""
        return max(0, self.lag - max(self.beyond, self.empty))

    @property
    def readable_to(self) -> int:
        """The end of what can be read."""
        return self.end - self.in_transaction

    @property
    def first_open(self) -> int:
        """The first offset that is left to do."""
        return self.readable_to - self.lag

    @property
    def is_shorter(self) -> bool:
        """Whether the log ends before what the group had finished."""
        return self.finished_to > self.end

    def with_first(self, found: Seen | None) -> "PartitionLag":
        """The same, with the first record that is left to do; None where there are only markers of transactions."""
        if found is None:
            return replace(self, empty=self.lag)
        empty = max(0, found.offset - self.first_open)
        return replace(self, empty=empty, blocking=found.offset, since=found.timestamp_ms)

    def age(self, now: float) -> float | None:
        """For how many seconds the blocking record has been there; None where that is not known."""
        return max(0.0, now - self.since / 1000) if self.since >= 0 else None

    def line(self, now: float) -> str:
        """The numbers in one line, for a log."""
        told = f"{self} committed {_or_none(self.committed)} end {self.end} lag {self.lag} beyond {self.beyond}"
        age = self.age(now)
        if self.blocking >= 0:
            told += f" blocked at {self.blocking}" + (f" for {age:.0f} s" if age is not None else "")
        told += f" retries {len(self.retries)} held {self.held}"
        told += f" in an open transaction from {self.readable_to}" if self.in_transaction else ""
        return told + (f" shorter than {self.finished_to}" if self.is_shorter else "")

    def notes(self) -> list[str]:
        """What the numbers alone don't tell, for people."""
        found = []
        if self.is_shorter:
            found.append(
                f"{self}: the log is shorter than what was committed: it ends at {self.end}, and the group had "
                f"finished something up to {self.finished_to}. At most what is there from {self.first_open} on is "
                f"left; a worker goes on from where the log was cut off, if the brokers can tell."
            )
        if self.in_transaction:
            found.append(
                f"{self}: held by an open transaction: nobody can read the {self.in_transaction} offsets from "
                f"{self.readable_to} on before it ends."
            )
        return found

    def as_dict(self, now: float) -> dict[str, Any]:
        """For JSON; what is not known, or not there, is null."""
        age = self.age(now)
        return {
            "topic": self.topic,
            "partition": self.number,
            "committed": self.committed if self.committed >= 0 else None,
            "end": self.end,
            "lag": self.lag,
            "left": self.left,
            "in_open_transaction": self.in_transaction,
            "shorter_than": self.finished_to if self.is_shorter else None,
            "finished_beyond": self.beyond,
            "held": self.held,
            "retries": [
                {"offset": one.offset, "retries": one.retries, "due_ms": one.due or None, "in_hand": one.in_hand}
                for one in self.retries
            ],
            "blocking": (
                {"offset": self.blocking, "age": None if age is None else round(age, 3)} if self.blocking >= 0 else None
            ),
        }


def measure(
    topic: str, number: int, log: Log, *, committed: int, metadata: str | None, from_end: bool = False
) -> PartitionLag:
    """The numbers of a partition.

    Args:
        committed: negative where the group has committed nothing.
        metadata: what stands beside the committed offset.
        from_end: a group that has committed nothing begins at the end.
    """
    first = log.first_open(committed, from_end=from_end)
    last = max(first, log.stable)
    found = PartitionLag(
        topic,
        number,
        max(committed, NONE_YET),
        log.end,
        last - first,
        in_transaction=max(0, log.end - last),
        finished_to=max(committed, NONE_YET),
    )
    handover = OffsetMap.decode(metadata, committed)
    if handover is None:
        return found
    found = replace(found, is_clean=handover.is_clean, finished_to=max(committed, handover.frontier))
    if found.is_shorter:
        return found  # nobody knows which of these records were written anew
    unfinished = [offset for offset in handover.unfinished if first <= offset < last]
    marked = handover.marks
    return replace(
        found,
        beyond=max(0, min(handover.frontier, last) - first - len(unfinished)),
        held=sum(offset not in marked for offset in unfinished),
        retries=[_retry(offset, marked[offset]) for offset in sorted(marked) if first <= offset < last],
    )


def measure_own(partition: Partition, log: Log) -> PartitionLag:
    """The numbers of a partition that this process owns, as its last acknowledged commit tells them."""
    committed, metadata = partition.committed
    found = measure(partition.topic, partition.number, log, committed=committed, metadata=metadata)
    return replace(found, blocking=partition.tracker.first_open)


def _retry(offset: int, mark: Mark) -> Retry:
    return Retry(offset, mark.retries, mark.due, mark.in_hand)


def _or_none(offset: int) -> str:
    return str(offset) if offset >= 0 else "none"
