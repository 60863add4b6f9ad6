"""What a worker and the processes of its slots say to each other: frames of msgpack over a socket."""

import socket
from collections.abc import Iterator

import msgspec

SIZE = 4  # bytes of a frame's length


class Run(msgspec.Struct, tag="run", array_like=True, gc=False):
    """To a slot: run this delivery."""

    number: int
    payload: bytes
    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    queue: str
    connection: str
    position: str
    timestamp_ms: int | None
    retries: int
    has_crashed: bool
    excused: int


class RunMany(msgspec.Struct, tag="many", array_like=True, gc=False):
    """To a slot: run these deliveries in one call."""

    runs: list[Run]


class Stop(msgspec.Struct, tag="stop", array_like=True, gc=False):
    """To a slot: begin nothing more, and end."""


class Error(msgspec.Struct, array_like=True, gc=False):
    """An error as the other process is told of it: where its class is, its name, text and trace."""

    module: str
    name: str
    text: str
    trace: str = ""


class Began(msgspec.Struct, tag="began", array_like=True, gc=False):
    """From a slot: this one's handler is being called."""

    number: int


class Failing(msgspec.Struct, tag="failing", array_like=True, gc=False):
    """From a slot: this one has failed for good with this error; it is recorded next, then its `failed()` is called."""

    number: int
    error: Error


class Recorded(msgspec.Struct, tag="recorded", array_like=True, gc=False):
    """From a slot: it is among the failed jobs."""

    number: int


class Ended(msgspec.Struct, tag="ended", array_like=True, gc=False):
    """From a slot: what has become of it, and after which error; the kinds are those of a Verdict.

    Of one that waits for its record (`hold`) the error is the store's, or its `failed()`'s.
    """

    number: int
    kind: str
    delay: float = 0.0
    counted: bool = True
    error: Error | None = None


class Ready(msgspec.Struct, tag="ready", array_like=True, gc=False):
    """From a slot: the application is booted."""

    pid: int


ToSlot = Run | RunMany | Stop
FromSlot = Began | Failing | Recorded | Ended | Ready

_encoder = msgspec.msgpack.Encoder()
to_slot = msgspec.msgpack.Decoder(ToSlot)
from_slot = msgspec.msgpack.Decoder(FromSlot)


def frame(message: ToSlot | FromSlot) -> bytes:
    """A message as it goes over the socket."""
    body = _encoder.encode(message)
    return len(body).to_bytes(SIZE, "big") + body


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add what was received; the whole frames so far."""
        buffer = self._buffer
        buffer += data
        place = 0
        while len(buffer) - place >= SIZE:
            size = int.from_bytes(buffer[place : place + SIZE], "big")
            if len(buffer) - place - SIZE < size:
                break
            yield bytes(buffer[place + SIZE : place + SIZE + size])
            place += SIZE + size
        del buffer[:place]


def receive(connection: socket.socket) -> bytes:
    """What has come; empty when the other side is gone."""
    try:
        return connection.recv(262_144)
    except (ConnectionError, OSError):
        return b""
