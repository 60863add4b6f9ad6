"""What is to be read of partitions, and how far they were read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Last:
    """What tells a record from another one at its offset; the epoch is None where the brokers tell none."""

    offset: int
    epoch: int | None
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition was read: up to `offset`, where `last` was the last record; None if there was none."""

    offset: int
    last: Last | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be read of a partition: from `start` up to `end`.

    Attributes:
        last: the record that has to stand at `start`, and was read before; it is not given again.
    """

    start: int
    end: int
    last: Last | None = None
