"""Large payloads of a connection: what is put aside when it is pushed, read when it is run, deleted when it is done."""

import msgspec

from lamplighter.contracts import Message
from lamplighter.errors import ClaimLost, MessageTooLarge
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.queue.claims.claims import HEADER, Reference, envelope_of, reference_in
from lamplighter.queue.claims.folder import FileClaims
from lamplighter.queue.delivery import DriverDelivery
from lamplighter.queue.jobs.payload import MAX_BYTES
from lamplighter.support.forking import watch


class KafkaClaims:
    """The claims of one connection; whoever pops reads and deletes, and anybody pushes.

    A payload goes when the brokers have its offset: after a crash its job runs again, and needs it.
    """

    def __init__(self, store: FileClaims, *, above: int, limit: int) -> None:
        """Puts aside what has more than `above` bytes, and what is more than `limit` with its key."""
        self._store = store
        self._above = above
        self._limit = limit
        self._read: list[tuple[KafkaDelivery, Reference]] = []
        watch(self, in_child=KafkaClaims._begin_as_child)

    def fit(self, message: Message) -> Message:
        """The message that travels: with a claim in place of a payload that is too large for it.

        Raises:
            MessageTooLarge: no worker would read it.
            Unavailable: the payload can't be put aside.
        """
        if message.headers:
            self._renew(message)
        size = len(message.payload)
        if size <= self._above and size + len(message.key or b"") <= self._limit:
            return message
        try:
            small = envelope_of(message.payload)
        except msgspec.DecodeError:
            return message  # no payload of a job: its size decides
        if size > MAX_BYTES:
            told = f"A payload of {size:,} bytes is too large: a worker reads at most {MAX_BYTES:,}."
            raise MessageTooLarge(told, size=size, limit=MAX_BYTES)
        reference = self._store.put(message.payload)
        return Message(small, message.key, [*message.headers, (HEADER, str(reference).encode())])

    def read(self, delivery: DriverDelivery) -> bytes:
        """The payload that a delivery claims.

        Raises:
            ClaimLost: there is none.
            Unavailable: it can't be read now.
        """
        self.settle()
        reference = reference_in(delivery.headers)
        if reference is None:
            raise ClaimLost(f"The payload says that it is kept elsewhere, and no header {HEADER} tells where.")
        payload = self._store.read(reference)
        # A job that is at work may fail: `queue:prune-claims`, which knows no record of it yet, leaves what is young.
        self._store.renew(reference)
        if isinstance(delivery, KafkaDelivery):
            delivery.keeps_claim = False
            self._read.append((delivery, reference))
        return payload

    def settle(self) -> None:
        """Delete what is done and committed; a failed job keeps its payload, and one that went on as a copy, too."""
        left = []
        for delivery, reference in self._read:
            partition = delivery.partition
            if delivery.offset >= partition.position:
                # One that was lost is deleted by whoever runs it next, or by `queue:prune-claims`.
                if not partition.lost:
                    left.append((delivery, reference))
            elif not delivery.keeps_claim:
                self._store.delete(reference)
        self._read = left

    def _begin_as_child(self) -> None:
        self._read = []  # the parent deletes what its jobs have read

    def _renew(self, message: Message) -> None:
        """A job that is retried after weeks must not lose its payload to its age."""
        reference = reference_in(message.headers)
        if reference is not None:
            self._store.renew(reference)
