"""What a dispatcher hands to the process of a background job."""

import msgspec

from lamplighter.contracts import Message
from lamplighter.errors import UnreadablePayload


class Handed(msgspec.Struct, frozen=True):
    """One job; the bytes of it travel as base64.

    Attributes:
        slot: the file whose lock the process holds as long as it lives.
        done: the end of a pipe into which it writes when the job is done or recorded.
        timeout: seconds that the job may run where nothing else is said; 0 is without end.
    """

    connection: str
    queue: str
    payload: bytes
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    slot: int
    done: int
    timeout: float

    @property
    def message(self) -> Message:
        """The job as it was pushed."""
        return Message(self.payload, self.key, self.headers)

    def encode(self) -> bytes:
        """As one JSON object."""
        return msgspec.json.encode(self)


def decode(text: bytes) -> Handed:
    """The job of such an object.

    Raises:
        UnreadablePayload: it is none.
    """
    try:
        return msgspec.json.decode(text, type=Handed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadablePayload(f"This is no job that a dispatcher has handed over: {error}.") from error
