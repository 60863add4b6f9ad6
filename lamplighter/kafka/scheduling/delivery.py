"""One Kafka record in the worker's hand."""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol, cast

from lamplighter.contracts import Headers
from lamplighter.kafka.partitions.headers import headers_of
from lamplighter.kafka.partitions.partition import Partition

if TYPE_CHECKING:
    from lamplighter.contracts import DriverDelivery
    from lamplighter.kafka.settings.native import Message


class Settling(Protocol):
    """Where a delivery is settled of which more is to be known than that it is finished."""

    def finish(self, delivery: "KafkaDelivery") -> None: ...
    def release(self, delivery: "KafkaDelivery", delay: float, *, counted: bool) -> None: ...
    def keep(self, delivery: "KafkaDelivery") -> None: ...
    def put_back(self, delivery: "KafkaDelivery") -> None: ...
    def count_crash(self, delivery: "KafkaDelivery") -> bool: ...
    def follows(self, delivery: "KafkaDelivery", other: "KafkaDelivery") -> bool: ...


class Source(Protocol):
    """The partition's records that a delivery was taken from.

    Attributes:
        is_plain: nothing waits, is kept or is marked, so that settling is only finishing.
    """

    is_plain: bool

    @property
    def partition(self) -> Partition: ...
    @property
    def settling(self) -> Settling: ...
    def finish(self, offset: int) -> None: ...


class KafkaDelivery:
    """A record of one assignment; what is settled after the partition has gone is dropped, and commits nothing.

    One is made for each record, so that what most never need is a default of the class.

    Attributes:
        order_key: what must be kept in order with it; None where nothing must.
        has_order_key: its order key is known.
        holds_order: what follows it waits for it.
        is_read: what an earlier owner has left about it is known.
        is_kept: it stays in hand while others are popped.
        singly: it has been begun among others whose call failed, and is begun again by itself.
        is_suspect: an earlier owner may have died of it, so that the broker is told before it starts.
        may_have_company: others may be in hand beside it all the same.
        version: what the broker must have been told before it may start; 0 where nothing must.
        leaves_by: until when a copy of it may travel, on the monotonic clock; 0 where none is to.
        when_done: called when its job is done, before its offset is finished; not when it has failed.
        blocked_since: when it first made others wait, on the monotonic clock; 0 where it never did.
    """

    retries = 0
    has_crashed = False
    excused = 0
    failure: BaseException | None = None
    is_recorded = False
    order_key: Hashable = None
    has_order_key = False
    holds_order = False
    is_read = False
    is_kept = False
    is_suspect = False
    may_have_company = False
    singly = False
    version = 0
    leaves_by = 0.0
    when_done: Callable[[], object] | None = None
    blocked_since = 0.0

    def __init__(self, source: Source, message: "Message") -> None:
        self.source = source
        self.message = message
        self.offset: int = message.offset()  # type: ignore[assignment]  # None only before it is sent

    @property
    def partition(self) -> Partition:
        """The partition, in the assignment that it was fetched in."""
        return self.source.partition

    @property
    def size(self) -> int:
        """The bytes of the record's value."""
        return len(self.message)

    @property
    def payload(self) -> bytes:
        """The record's value; empty for a tombstone."""
        return self.message.value() or b""

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        return self.message.key()

    @property
    def headers(self) -> Headers:
        """The record's headers."""
        return headers_of(self.message)

    @property
    def queue(self) -> str:
        """The topic."""
        return self.source.partition.topic

    @property
    def connection(self) -> str:
        """The connection's name."""
        return self.source.partition.connection

    @property
    def position(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self.source.partition}@{self.offset}"

    @property
    def timestamp_ms(self) -> int | None:
        """The broker's or the sender's time."""
        kind, timestamp = self.message.timestamp()
        return timestamp if kind else None

    def delete(self) -> None:
        """Done; the polling thread commits it with the prefix that it completes."""
        if self.when_done is not None:
            self.when_done()
        source = self.source
        if source.is_plain:
            source.finish(self.offset)
        else:
            source.settling.finish(self)

    def release(self, delay: float, *, counted: bool = True) -> None:
        """Wait in its place, and what follows it too; the commit's metadata say how often and how long."""
        self.source.settling.release(self, delay, counted=counted)

    def keep(self) -> None:
        """It stays in hand while others are popped; what must follow it waits."""
        self.source.settling.keep(self)

    def put_back(self) -> None:
        """It is popped again, as if it had not been, before what must follow it."""
        self.source.settling.put_back(self)

    def follows(self, other: "DriverDelivery") -> bool:
        """Whether the other one, of this connection, has to be done before this one."""
        return self.source.settling.follows(self, cast("KafkaDelivery", other))

    def fail(self, error: BaseException) -> None:
        """Recorded as failed, and done."""
        self.when_done = None
        self.delete()

    def count_crash(self) -> bool:
        """The last commit tells the next owner that this one has died of it."""
        return self.source.settling.count_crash(self)
