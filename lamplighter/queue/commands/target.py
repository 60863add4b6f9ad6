"""Which connection and queue a command is about, and whether it can do what the command wants."""

from typing import TypeVar

from lamplighter.contracts import Queue
from lamplighter.errors import ConsoleError
from lamplighter.queue.manager import QueueManager

Q = TypeVar("Q", bound=Queue)


def able(queue: Q, what: str, words: str) -> Q:
    """The connection, if it can do `what`, a key of its `lacks`; `words` say the same to the user.

    Raises:
        ConsoleError: it can't; the message says why.
    """
    if what in queue.lacks:
        raise ConsoleError(f"The connection {queue.connection!r} can't {words}. {queue.lacks[what]}")
    return queue


def place_of(word: str, queues: QueueManager) -> tuple[str, str]:
    """The connection and the queue that `connection:queue` or `queue` names, which is one of the default connection.

    Raises:
        ConsoleError: a half of it is missing.
    """
    connection, colon, queue = (part.strip() for part in word.partition(":"))
    if not colon and connection:
        return queues.default, connection
    if connection and queue:
        return connection, queue
    raise ConsoleError(f"{word!r} names no queue of a connection; name both, such as kafka:store.")
