"""What tells a reservation of a row from any other one."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from lamplighter.queue.drivers.leasing.store import Lease


@dataclass(slots=True, eq=False)
class Reservation:
    """The row as its worker has left it.

    Whoever reserves the row later counts one attempt more, and a job that is released becomes a new row. So an end
    that comes too late, or for the second time, meets no such row.
    """

    id: int
    attempts: int
    reserved_at: int


class Started(NamedTuple):
    """A row that was reserved just now; `attempts` count this start, and `was_reserved` tells of an earlier one."""

    id: int
    queue: str
    payload: Any
    attempts: int
    reserved_at: int
    created_at: int
    was_reserved: Any

    def lease(self) -> Lease:
        """The job in a worker's hand."""
        payload = self.payload
        return Lease(
            queue=self.queue,
            payload=payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else bytes(payload or b""),
            handle=Reservation(self.id, self.attempts, self.reserved_at),
            retries=self.attempts - 1,
            mark=str(self.id),
            timestamp_ms=self.created_at * 1000,
            has_crashed=bool(self.was_reserved),
        )
