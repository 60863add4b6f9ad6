"""What tells a reservation of a row from any other one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lamplighter.queue.drivers.leasing.store import Lease

Key = tuple[int, int, int]  # of a reservation
LATEST = 10**11  # seconds since 1970; what is beyond is no time at which a job was pushed


@dataclass(slots=True, eq=False)
class Reservation:
    """The row as its worker has left it.

    Whoever reserves the row later counts one attempt more, or, where the column takes no more, dates it one second
    earlier; whoever gives it back unrun does that, too. A job that is released becomes a new row. So an end that comes
    too late, or for the second time, meets no such row.
    """

    id: int
    attempts: int
    available_at: int
    reserved_at: int

    @property
    def key(self) -> Key:
        """What no other reservation has."""
        return self.id, self.attempts, self.available_at


class Started(NamedTuple):
    """A row that was reserved just now; `attempts` count this start, and `was_reserved` tells of an earlier one."""

    id: int
    queue: str
    payload: Any
    attempts: int
    reserved_at: int
    created_at: Any
    was_reserved: Any
    available_at: int

    def lease(self) -> Lease:
        """The job in a worker's hand."""
        created = self.created_at
        return Lease(
            queue=self.queue,
            payload=bytes_of(self.payload),
            handle=Reservation(self.id, self.attempts, self.available_at, self.reserved_at),
            retries=self.attempts - 1,
            mark=str(self.id),
            # Others may have written anything, where their table lets them.
            timestamp_ms=int(created * 1000) if isinstance(created, int | float) and 0 <= created < LATEST else None,
            has_crashed=bool(self.was_reserved),
        )


class Doubt(NamedTuple):
    """What was reserved by a commit whose answer did not come; `number` is the transaction's on PostgreSQL, else 0."""

    started: Sequence[Started]
    number: int


def bytes_of(payload: Any) -> bytes:
    """The column `payload` as its bytes; others may have written NULL."""
    return payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else bytes(payload or b"")
