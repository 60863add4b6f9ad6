"""What dispatchers and operators ask of a connection whose store leases jobs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from lamplighter.contracts import HeldJob, Message, Sizes
from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.delayed import LACKS, FindsDelayed
from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.queue.jobs.payload import has_as_id

TOGETHER = 500  # messages of one push
TOGETHER_BYTES = 4 * 1024 * 1024
MOST_SHOWN = 40  # bytes of a key in an error


class StoredJobs:
    """The part of a connection that knows nothing of workers: it pushes, counts and clears."""

    served_by = 0  # what jobs push is safe when their push returns

    def __init__(self, connection: str, store: JobStore, *, default_queue: str) -> None:
        self.connection = connection
        self.default_queue = default_queue
        self.lacks: Mapping[str, str] = {**({} if isinstance(store, FindsDelayed) else LACKS), **store.lacks}
        self._store = store

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Return when the store has the message."""
        if message.key is not None or message.headers:
            self._look_beside(message)
        self._store.push(queue, [message], max(0.0, delay))

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Push many, hundreds in one call; how many there were. An error says how many are on the queue."""
        count = 0
        for together in _parts(messages):
            try:
                for message in together:
                    if message.key is not None or message.headers:
                        self._look_beside(message)
                self._store.push(queue, together, 0.0)
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


def _parts(messages: Iterable[Message]) -> Iterator[list[Message]]:
    part: list[Message] = []
    size = 0
    for message in messages:
        part.append(message)
        size += len(message.payload)
        if len(part) >= TOGETHER or size >= TOGETHER_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
