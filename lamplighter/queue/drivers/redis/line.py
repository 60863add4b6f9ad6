"""A connection to Redis, and how its answers are waited for."""

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from lamplighter.queue.drivers.redis.scripts import Script
from lamplighter.support.looking import Looking

Words = Sequence[Any]

pack: Callable[[Any], bytes] | None = None
with suppress(ImportError):  # the client has a way of its own then
    # The client calls the same, behind checks of each word that take as long again.
    from hiredis import pack_command as pack


class Line:
    """A connection of the client's, used by one thread at a time."""

    __slots__ = ("_link", "_looking", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._link: Any = None
        self._looking: Looking | None = None

    def is_quiet(self) -> bool:
        """Whether it is open and has nothing to read: the server says nothing unasked, but that it closes."""
        # The client itself looks no other way, at five times the price.
        looking = self._look_at()
        return looking is not None and looking.is_quiet()

    def run(self, script: Script, keys: Sequence[bytes], values: Words, *, looks: bool) -> Any:
        """Run a script, after a moment of looking for its answer or without."""
        try:
            return self._ask(looks, ("EVALSHA", script.digest, len(keys), *keys, *values))
        except NoScriptError:
            return self._ask(looks, ("EVAL", script.text, len(keys), *keys, *values))

    def give_back(self, pool: Any) -> None:
        """Let others use the connection."""
        link, self._link = self._link, None
        if link is not None and link is self.connection._sock:
            with suppress(OSError):
                wait_by_client(link, self.connection.socket_timeout)
        pool.release(self.connection)

    def _ask(self, looks: bool, words: tuple[Any, ...]) -> Any:
        connection, looking = self.connection, self._look_at()
        if not looks:
            looking = None
        try:
            if looking is not None and looking.is_trying:
                looking.begin()
            connection.send_packed_command(connection.pack_command(*words) if pack is None else (pack(words),))
            if looking is not None:
                looking.look()
            answer = connection.read_response()
        except ResponseError:
            raise  # an answer like any other
        except BaseException as error:
            connection.disconnect()  # the next answer would be that of this call
            if isinstance(error.__context__, BlockingIOError):
                raise redis.TimeoutError(f"no answer within {connection.socket_timeout:g} s") from error
            raise
        if looking is not None:
            looking.end()
        return answer

    def _look_at(self) -> Looking | None:
        """None where it is not connected; whenever it connects, it has another socket."""
        link = self.connection._sock
        if link is not self._link:
            self._link = link
            self._looking = None
            if link is not None:
                self._looking = Looking(link)
                wait_by_kernel(link, self.connection.socket_timeout)
        return self._looking


def wait_by_kernel(link: socket.socket, seconds: float) -> None:
    """Have the kernel end what takes too long, by BlockingIOError.

    Where Python does, it waits before each call until the socket is ready, and lets go of the interpreter's lock twice
    instead of once: 3 to 8 µs of processor time for each job. TLS stays as it is: it would begin anew, for ever.
    """
    if type(link) is socket.socket:
        _set_kernel_timeout(link, seconds)
        link.settimeout(None)


def wait_by_client(link: socket.socket, seconds: float) -> None:
    """Undo it."""
    if type(link) is socket.socket:
        link.settimeout(seconds)
        _set_kernel_timeout(link, 0)


def _set_kernel_timeout(link: socket.socket, seconds: float) -> None:
    value = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        link.setsockopt(socket.SOL_SOCKET, option, value)
