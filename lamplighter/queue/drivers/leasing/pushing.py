"""Many messages are pushed in few calls."""

from collections.abc import Iterable, Iterator

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.store import JobStore

TOGETHER = 500  # messages of one push
TOGETHER_BYTES = 4 * 1024 * 1024


def push_many(store: JobStore, queue: str, messages: Iterable[Message], *, connection: str) -> int:
    """Push them, hundreds in one call; how many there were. An error says how many are on the queue."""
    count = 0
    for together in _parts(messages):
        try:
            for message in together:
                if message.headers:
                    look_at_headers(store, message, connection=connection)
            store.push(queue, together, 0.0)
        except QueueError as error:
            if count:
                error.args = (f"{error} The first {count:,} are on the queue.",)
            raise
        count += len(together)
    return count


def look_at_headers(store: JobStore, message: Message, *, connection: str) -> None:
    """Only the payload travels where the store keeps nothing beside it; a text key is its `id` then.

    Raises:
        QueueError: the message has headers, and they would be lost.
    """
    if store.keeps_headers:
        return
    names = ", ".join(sorted({name for name, _ in message.headers}))
    raise QueueError(
        f"The connection {connection!r} carries no headers, and the job has some: {names}. Put them into "
        f"the job's data, or dispatch it on a connection that carries them."
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
