"""Many messages in parts that are pushed together."""

from collections.abc import Iterable, Iterator

from lamplighter.contracts import Message

TOGETHER = 500  # messages of one part
TOGETHER_BYTES = 4 * 1024 * 1024


def parts_of(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """The messages in their order, hundreds at a time."""
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
