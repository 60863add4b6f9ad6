"""What dispatchers and operators ask of a connection whose store leases jobs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from lamplighter.contracts import HeldJob, Message, Sizes
from lamplighter.errors import MessageTooLarge, QueueError
from lamplighter.queue.claims.check import ClaimCheck
from lamplighter.queue.claims.pruning import Prunable
from lamplighter.queue.drivers.leasing.delayed import LACKS, FindsDelayed
from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.queue.jobs.payload import has_as_id
from lamplighter.queue.parts import parts_of

KEPT_HOURS = 60 * 24.0  # a queue may be paused for long, and nobody knows which payloads its jobs claim
MOST_SHOWN = 40  # bytes of a key in an error


class StoredJobs:
    """The part of a connection that knows nothing of workers: it pushes, counts and clears."""

    served_by = 0  # what jobs push is safe when their push returns

    def __init__(
        self, connection: str, store: JobStore, *, default_queue: str, claims: ClaimCheck | None = None
    ) -> None:
        self.connection = connection
        self.default_queue = default_queue
        self.lacks: Mapping[str, str] = {**({} if isinstance(store, FindsDelayed) else LACKS), **store.lacks}
        self._store = store
        self._claims = claims

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when the store has the message."""
        if message.key is not None or message.headers:
            self._look_beside(message)
        self._put(queue, [message], max(0.0, delay))

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Push many, hundreds in one call; how many there were. An error says how many are on the queue."""
        count = 0
        for together in parts_of(messages):
            try:
                for message in together:
                    if message.key is not None or message.headers:
                        self._look_beside(message)
                self._put(queue, together, 0.0)
            except QueueError as error:
                if count:
                    error.args = (f"{error} The first {count:,} are on the queue.",)
                raise
            count += len(together)
        return count

    def sizes(self, queue: str) -> Sizes:
        """How many jobs a queue has."""
        return self._store.sizes(queue)

    def clear(self, queue: str) -> int:
        """Delete all jobs of a queue; how many those were."""
        self._refuse("clear")
        return self._store.clear(queue)

    def held(self, *, most: int) -> Sequence[HeldJob]:
        """The jobs that are due later, where the store can list them."""
        return self._finding("held").held(most)

    def cancel(self, id: str) -> int:
        """Take back what is due later and has this id, where the store can find it; how many jobs that were."""
        return self._finding("cancel").cancel(id)

    def _finding(self, what: str) -> FindsDelayed:
        self._refuse(what)
        return cast(FindsDelayed, self._store)

    def prunable_claims(self) -> Prunable | None:
        """What `queue:prune-claims` may delete."""
        return None if self._claims is None else Prunable(self._claims.store, hours=KEPT_HOURS)

    def _put(self, queue: str, messages: Sequence[Message], delay: float) -> None:
        if self._claims is None:
            self._store.push(queue, messages, delay)
            return
        fitting = [self._claims.fit(message, queue, delay=delay) for message in messages]
        try:
            self._store.push(queue, fitting, delay)
        except MessageTooLarge as error:
            # None is there. The store may count more than the payload, so that something is left of its limit.
            above = (error.limit or 0) * 9 // 10
            smaller = [self._claims.fit(message, queue, above=above, delay=delay) for message in fitting]
            if smaller == fitting:
                raise
            self._store.push(queue, smaller, delay)

    def _refuse(self, what: str) -> None:
        if what in self.lacks:
            raise QueueError(f"The connection {self.connection!r} can't do that ({what}). {self.lacks[what]}")

    def _look_beside(self, message: Message) -> None:
        """Where the store keeps nothing beside a payload, nothing may be there that is not in it.

        Raises:
            QueueError: the message has headers, or a key that is not the payload's `id`; they would be lost.
        """
        if self._store.keeps_headers:
            return
        if message.headers:
            names = ", ".join(sorted({name for name, _ in message.headers}))
            raise QueueError(
                f"The connection {self.connection!r} carries no headers, and the job has some: {names}. Put them into "
                f"the job's data, or dispatch it on a connection that carries them."
            )
        if message.key is not None and not has_as_id(message.payload, message.key):
            raise QueueError(
                f"The connection {self.connection!r} carries a key only as the payload's `id`, and that of the job is "
                f"none: {message.key[:MOST_SHOWN]!r}. Let the key be text of 1 to 1,000 bytes, or None, or dispatch "
                f"the job on a connection that carries keys."
            )
