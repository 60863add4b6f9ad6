"""A leased job in the worker's hand."""

import hashlib
from collections.abc import Callable
from typing import Protocol
from uuid import uuid4

from lamplighter.contracts import DriverDelivery, Headers
from lamplighter.queue.drivers.leasing.store import How, Lease
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.naming import has_id


class Settling(Protocol):
    """Where a lease ends."""

    connection: str

    def end(self, delivery: "LeasedDelivery", how: How, delay: float = 0.0) -> None: ...
    def hold(self, delivery: "LeasedDelivery", delay: float) -> None: ...
    def put_back(self, delivery: "LeasedDelivery") -> None: ...
    def has_in_hand(self, delivery: "LeasedDelivery") -> bool: ...


class LeasedDelivery:
    """One start of one job.

    One is made for each job, so that what most never need is a default of the class.

    Attributes:
        leased_at: when its store was asked for it, or to renew its lease, on the monotonic clock; its lease began then
            or later.
        when_done: called when its job is done, before its store hears of that; not when it has failed.
        has_died: its worker ends by an error that is not the job's own, so that this start counts.
    """

    excused = 0
    failure: BaseException | None = None
    is_recorded = False
    singly = False
    has_died = False
    when_done: Callable[[], object] | None = None
    _mark = ""

    def __init__(self, lease: Lease, settling: Settling, leased_at: float = 0.0) -> None:
        self.lease = lease
        self.leased_at = leased_at
        self.payload = lease.payload
        self.retries = lease.retries
        self.has_crashed = lease.has_crashed is not False
        self._settling = settling

    @property
    def is_suspect(self) -> bool:
        """An earlier worker may have died of it, so that it is in no call with others."""
        return self.retries > 0 or bool(self.lease.has_crashed)

    @property
    def key(self) -> bytes | None:
        """The message's key, where the store keeps one."""
        return self.lease.key

    @property
    def headers(self) -> Headers:
        """The message's headers, where the store keeps them."""
        return self.lease.headers

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self.lease.queue

    @property
    def connection(self) -> str:
        """The connection's name."""
        return self._settling.connection

    @property
    def position(self) -> str:
        """`queue#mark`; the mark is the store's name of the job, or made from its bytes."""
        if not self._mark:
            self._mark = self.lease.mark or _mark(self.payload)
        return f"{self.lease.queue}#{self._mark}"

    @property
    def timestamp_ms(self) -> int | None:
        """When it was pushed."""
        return self.lease.timestamp_ms

    def delete(self) -> None:
        """It is done: the store hears of it with the next start, or as soon as there is none."""
        if self.when_done is not None and self._settling.has_in_hand(self):
            self.when_done()
        self._settling.end(self, How.DELETED)

    def release(self, delay: float, *, counted: bool = True) -> None:
        """It goes back to the store; one that waits for the record of its failure stays here, where that is known."""
        if self.failure is not None:
            self.retries += counted
            self._settling.hold(self, delay)
        else:
            self._settling.end(self, How.RELEASED if counted else How.EXCUSED, delay)

    def keep(self) -> None:
        """No job has to wait for another one here."""

    def put_back(self) -> None:
        """It is popped again, before any other."""
        self._settling.put_back(self)

    def follows(self, other: DriverDelivery) -> bool:
        """No job has to wait for another one here."""
        return False

    def fail(self, error: BaseException) -> None:
        """Recorded as failed, and done."""
        self._settling.end(self, How.DELETED)

    def count_crash(self) -> bool:
        """The start is counted already; it is not taken back when the worker ends."""
        self.has_died = self._settling.has_in_hand(self)
        return self.has_died


def _mark(payload: bytes) -> str:
    """What names a job that its store has no name for: the same at each start of it, whatever its count of attempts.

    A payload without an id may stand in the queue twice, and both may fail: rather two records of one job than one of
    two.
    """
    digest = hashlib.sha256(without_attempts(payload)).hexdigest()[:16]
    return digest if has_id(payload) else f"{digest}.{uuid4().hex[:8]}"
