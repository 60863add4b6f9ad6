"""What is left to do of each partition, and what holds it up: the numbers, wherever they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lamplighter.kafka.partitions.offset_map import Mark, OffsetMap
from lamplighter.kafka.partitions.partition import Partition

NONE_YET = -1


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
    """One partition, from what its group has committed to its end.

    Attributes:
        committed: the first offset that is not finished; -1 where the group has committed nothing.
        end: the offset of the next record that will be written.
        lag: offsets from the committed one, or from where the group would begin, to the end.
        beyond: offsets beyond the committed one that are finished.
        held: offsets below finished ones that are neither finished nor to be retried: in hand, or behind another of
            their key.
        retries: what waits to run again, in the order of the offsets.
        is_clean: whether the last owner has left in order; None where it has left no word.
        blocking: the record that the commit waits for; -1 where there is none, or where it was not looked for.
        since: when that was written, in milliseconds since 1970; -1 where that is not known.
    """

    topic: str
    number: int
    committed: int
    end: int
    lag: int
    beyond: int = 0
    held: int = 0
    retries: Sequence[Retry] = ()
    is_clean: bool | None = None
    blocking: int = NONE_YET
    since: int = NONE_YET

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"

    @property
    def left(self) -> int:
        """Jobs that are not finished, at most: offsets without a record count, too."""
        return self.lag - self.beyond

    def age(self, now: float) -> float | None:
        """For how many seconds the blocking record has been there; None where that is not known."""
        return max(0.0, now - self.since / 1000) if self.since >= 0 else None

    def line(self, now: float) -> str:
        """The numbers in one line, for a log."""
        told = f"{self} committed {_or_none(self.committed)} end {self.end} lag {self.lag} beyond {self.beyond}"
        age = self.age(now)
        if self.blocking >= 0:
            told += f" blocked at {self.blocking}" + (f" for {age:.0f} s" if age is not None else "")
        return f"{told} retries {len(self.retries)} held {self.held}"

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
    topic: str, number: int, *, committed: int, metadata: str | None, start: int, end: int, from_end: bool = False
) -> PartitionLag:
    """The numbers of a partition whose log goes from `start` to `end`.

    Args:
        committed: negative where the group has committed nothing.
        metadata: what stands beside the committed offset.
        from_end: a group that has committed nothing begins at the end.
    """
    handover = OffsetMap.decode(metadata, committed)
    # Retention may have deleted what was committed.
    first = max(committed, end if committed < 0 and from_end else start)
    lag = max(0, end - first)
    if handover is None:
        return PartitionLag(topic, number, max(committed, NONE_YET), end, lag)
    unfinished = [offset for offset in handover.unfinished if offset >= first]
    beyond = min(lag, max(0, handover.frontier - first - len(unfinished)))
    marked = handover.marks
    return PartitionLag(
        topic,
        number,
        committed,
        end,
        lag,
        beyond=beyond,
        held=sum(offset not in marked for offset in unfinished),
        retries=[_retry(offset, marked[offset]) for offset in sorted(marked) if offset >= first],
        is_clean=handover.is_clean,
    )


def measure_own(partition: Partition, *, end: int) -> PartitionLag:
    """The numbers of a partition that this process owns, as its last acknowledged commit tells them."""
    committed, metadata = partition.committed
    found = measure(
        partition.topic,
        partition.number,
        committed=committed,
        metadata=metadata,
        start=max(0, partition.position),
        end=end,
    )
    return replace(found, blocking=partition.tracker.first_open)


def _retry(offset: int, mark: Mark) -> Retry:
    return Retry(offset, mark.retries, mark.due, mark.in_hand)


def _or_none(offset: int) -> str:
    return str(offset) if offset >= 0 else "none"
