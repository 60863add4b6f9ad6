"""One Kafka message in the worker's hand."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

from lamplighter.contracts import Headers
from lamplighter.kafka.headers import headers_of

if TYPE_CHECKING:
    from confluent_kafka import Message

    from lamplighter.kafka.partitions.partition import Partition
    from lamplighter.queue.delivery import DriverDelivery


class KafkaDelivery:
    """A message of one assignment; what is settled after the partition has gone is dropped, and commits nothing.

    One is made for each message, so that what most never need is a default of the class.

    Attributes:
        lane: what must be kept in order with it; None where nothing must.
        is_placed: its lane is known.
        is_read: what an earlier owner has left about it is known.
        is_kept: it stays in hand while others are popped.
        is_blocking: what follows it in its lane waits for it.
        singly: it has been begun among others whose call failed, and is begun again by itself.
        is_suspect: an earlier owner may have died of it, so that its start is told before.
        may_have_company: others may be in hand beside it all the same.
        version: what the broker must have been told before it may start; 0 where nothing must.
        leaves_by: until when a copy of it may travel, on the monotonic clock; 0 where none is to.
        keeps_claim: the payload that was put aside for it is still needed when it is done.
        blocked_since: when it first made its lane wait, on the monotonic clock; 0 where it never did.
    """

    retries = 0
    has_crashed = False
    excused = 0
    failure: BaseException | None = None
    lane: Hashable = None
    is_placed = False
    is_read = False
    is_kept = False
    is_blocking = False
    is_suspect = False
    may_have_company = False
    singly = False
    version = 0
    leaves_by = 0.0
    keeps_claim = False
    blocked_since = 0.0

    def __init__(self, partition: "Partition", message: "Message") -> None:
        self.partition = partition
        self.message = message
        self.offset: int = message.offset()  # type: ignore[assignment]  # None only before it is sent

    @property
    def payload(self) -> bytes:
        """The message's value; empty for a tombstone."""
        return self.message.value() or b""

    @property
    def key(self) -> bytes | None:
        """The message's key."""
        return self.message.key()

    @property
    def headers(self) -> Headers:
        """The message's headers."""
        return headers_of(self.message)

    @property
    def queue(self) -> str:
        """The topic."""
        return self.partition.topic

    @property
    def connection(self) -> str:
        """The connection's name."""
        return self.partition.connection

    @property
    def position(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self.partition}@{self.offset}"

    @property
    def timestamp_ms(self) -> int | None:
        """The broker's or the sender's time."""
        kind, timestamp = self.message.timestamp()
        return timestamp if kind else None

    def delete(self) -> None:
        """Done; the polling thread commits it with the prefix that it completes."""
        partition = self.partition
        if not partition.is_plain:
            partition.lanes.finish(self)
        elif not partition.lost:
            partition.tracker.finish(self.offset)

    def release(self, delay: float, *, counted: bool = True) -> None:
        """Wait in its place, and its lane with it; the commit's metadata say how often and how long."""
        self.keeps_claim = True
        self.partition.lanes.release(self, delay, counted=counted)

    def keep(self) -> None:
        """It stays in hand while others are popped; what must follow it waits."""
        self.partition.lanes.keep(self)

    def put_back(self) -> None:
        """It is popped again, as if it had not been, before what must follow it."""
        self.partition.lanes.put_back(self)

    def follows(self, other: "DriverDelivery") -> bool:
        """Whether the other one, of this connection, has to be done before this one."""
        return self.partition.lanes.follows(self, cast("KafkaDelivery", other))

    def fail(self, error: BaseException) -> None:
        """Recorded as failed, and done."""
        self.keeps_claim = True
        self.delete()
