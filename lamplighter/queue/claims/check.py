"""Large payloads of a connection: put aside when they are pushed, read when they are run, given back when done."""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import msgspec

from lamplighter.contracts import DriverDelivery, Message
from lamplighter.errors import ClaimLost, MessageTooLarge
from lamplighter.queue.claims.claims import HEADER, HEADER_BYTES, Reference, envelope_of, reference_from
from lamplighter.queue.claims.folder import Claim, FileClaims
from lamplighter.queue.jobs.payload import MAX_BYTES
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

TOGETHER = 64  # payloads whose space is given back at once, and their bytes: each time the disk is waited for
TOGETHER_BYTES = 32 * 1024 * 1024


@runtime_checkable
class SettledHere(Protocol):
    """A delivery that this process settles.

    Attributes:
        when_done: called when its job is done, before its queue hears of that; not when it has failed.
    """

    when_done: Callable[[], object] | None


class ClaimCheck:
    """The claims of one connection; whoever pops reads them and settles their jobs, and anybody pushes.

    That a job is done is said in the folder before its offset is finished. So whatever dies after that, and whatever
    makes a record of the job come again, it is neither run again nor found without its payload.
    """

    def __init__(
        self, store: FileClaims, *, group: str = "", above: int, limit: int = MAX_BYTES, in_payload: bool = False
    ) -> None:
        """Puts aside what has more than `above` bytes, and what is more than `limit` with its key, if that helps.

        A header names what is kept, or with `in_payload` the data of the small payload.
        """
        self.store = store
        self._in_payload = in_payload
        self._group = group
        self._above = above
        self._limit = limit
        self._done: list[Claim] = []  # whose space is to be given back
        self._done_bytes = 0
        self._is_told = False
        watch(self, in_child=ClaimCheck._begin_as_child)

    def fit(self, message: Message, queue: str, *, above: int | None = None, delay: float = 0.0) -> Message:
        """The message that travels: with a claim in place of a payload that is too large for it.

        `above` stands in for that of the connection, where the queue has refused the message. What is put aside has no
        age before `delay` is over.

        Raises:
            MessageTooLarge: no worker would read it.
            Unavailable: the payload can't be put aside.
        """
        if message.headers or self._in_payload:
            self.renew(message, queue)
        size = len(message.payload)
        if size <= (self._above if above is None else above) and size + len(message.key or b"") <= self._limit:
            return message
        try:
            small = envelope_of(message.payload)
        except msgspec.DecodeError:
            return message  # no payload of a job: its size decides
        if size > MAX_BYTES:
            told = f"A payload of {size:,} bytes is too large: a worker reads at most {MAX_BYTES:,}."
            raise MessageTooLarge(told, size=size, limit=MAX_BYTES)
        if len(small) + HEADER_BYTES >= size or len(small) + len(message.key or b"") > self._limit:
            return message  # a claim is no smaller, or not small enough; a job with a claim is put back this way, too
        reference = self.store.put(message.payload, delay=delay)
        if self._in_payload:
            return Message(envelope_of(message.payload, reference), message.key, message.headers)
        return Message(small, message.key, [*message.headers, (HEADER, str(reference).encode())])

    def renew(self, message: Message, queue: str) -> None:
        """A record of a job is about to be written: however old the job is, its payload must not be pruned now."""
        reference = reference_from(message.headers, message.payload)
        if reference is not None:
            self.store.renew(self._claim(reference, queue, message.key))

    def read(self, delivery: DriverDelivery) -> bytes:
        """The payload that a delivery claims.

        Raises:
            AlreadyDone: the job is done, and its record has come again.
            ClaimLost: there is none.
            Unavailable: it can't be read now.
        """
        reference = reference_from(delivery.headers, delivery.payload)
        if reference is None:
            raise ClaimLost(
                f"The payload says that it is kept elsewhere, and neither a header {HEADER} nor its data tell where."
            )
        claim = self._claim(reference, delivery.queue, delivery.key)
        if isinstance(delivery, SettledHere):  # what a slot runs is settled by its worker
            delivery.when_done = partial(self._finish, claim)
        payload = self.store.read(claim)
        # A job that is at work may fail: `queue:prune-claims`, which knows no record of it yet, leaves what is young.
        self.store.renew(claim)
        return payload

    def give_back(self) -> None:
        """Give back the space of jobs that are done."""
        if not self._done:
            return
        done, self._done, self._done_bytes = self._done, [], 0
        try:
            self.store.give_back(done)
        except OSError as error:
            self._tell(error)
            return
        self._is_told = False

    def _begin_as_child(self) -> None:
        self._done, self._done_bytes = [], 0  # the parent gives back what its jobs are done with

    def _claim(self, reference: Reference, queue: str, key: bytes | None) -> Claim:
        """What a job claims. Somebody may have sent one payload to other groups or queues, or under another key."""
        words = (str(reference), self._group, queue)
        told = "\0".join(words).encode("utf-8", "surrogatepass") + b"\0" + (key or b"")
        return Claim(reference, hashlib.sha256(told).hexdigest()[:32])

    def _finish(self, claim: Claim) -> None:
        try:
            self.store.finish(claim)
        except OSError as error:
            self._tell(error)
            return
        self._done.append(claim)
        self._done_bytes += claim.reference.size
        if len(self._done) >= TOGETHER or self._done_bytes >= TOGETHER_BYTES:
            self.give_back()

    def _tell(self, error: OSError) -> None:
        """Once, until it works again: the job is done, and nothing of that is undone."""
        if not self._is_told:
            self._is_told = True
            log.warning(
                "payloads of jobs that are done can't be given back; `queue:prune-claims` deletes them when it is run",
                extra={"folder": str(self.store.folder), "reason": str(error)},
            )
