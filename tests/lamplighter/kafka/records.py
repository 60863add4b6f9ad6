"""Records of Kafka as tests write them."""

from lamplighter.contracts import Headers, Message


class Record:
    """A message as it was appended to `store[0]`."""

    def __init__(self, message: Message, *, kind: int, at: float, offset: int = 0) -> None:
        self._message, self._kind, self._at, self._offset = message, kind, at, offset

    def value(self) -> bytes:
        """What it says."""
        return self._message.payload

    def key(self) -> bytes | None:
        """What it is kept in order by."""
        return self._message.key

    def headers(self) -> Headers:
        """What it bears."""
        return self._message.headers

    def timestamp(self) -> tuple[int, int]:
        """When it was appended, or sent."""
        return self._kind, round(self._at * 1000)

    def topic(self) -> str:
        """The topic in which it stands."""
        return "store"

    def partition(self) -> int:
        """The partition of the topic."""
        return 0

    def offset(self) -> int:
        """Where it stands."""
        return self._offset

    def leader_epoch(self) -> int | None:
        """Who led the partition."""
        return None
