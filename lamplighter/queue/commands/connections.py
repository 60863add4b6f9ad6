"""The connection that a command is about, as far as it can do what the command wants."""

from typing import TypeVar

from lamplighter.contracts import Queue
from lamplighter.errors import ConsoleError

Q = TypeVar("Q", bound=Queue)


def able(queue: Q, what: str, words: str) -> Q:
    """The connection, if it can do `what`, a key of its `lacks`; `words` say the same to the user.

    Raises:
        ConsoleError: it can't; the message says why.
    """
    if what in queue.lacks:
        raise ConsoleError(f"The connection {queue.connection!r} can't {words}. {queue.lacks[what]}")
    return queue
