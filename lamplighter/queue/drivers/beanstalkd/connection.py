"""A connection to beanstalkd on which many commands travel together."""

import os
import re
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import greenstalk

from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.beanstalkd.client import Client
from lamplighter.support.immortal import keep_for_ever

MOST = 2**32 - 1  # the largest number of the protocol: a priority, or seconds
LONGEST_WAIT = 1  # seconds that the server waits for a job at most: the worker hears no signal meanwhile
TUBE = re.compile(r"[A-Za-z0-9+/;.$_()][-A-Za-z0-9+/;.$_()]{0,199}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is; `timeout` is seconds until it counts as away."""

    host: str
    port: int
    timeout: float

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the bytes that the client will send for it, and the client's method, which reads the answer."""

    text: bytes
    call: Callable[[], Any]


class SentAhead(socket.socket):
    """A connected socket on which commands were sent before the client came to send them."""

    _ahead: deque[bytes]

    def send_ahead(self, texts: Sequence[bytes]) -> None:
        """Send them in one write."""
        self._ahead = deque(texts)
        super().sendall(b"".join(texts))

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """What was sent already is not sent again."""
        expected = self._ahead.popleft()
        if data != expected:
            raise ValueError(f"greenstalk sends {bytes(data[:40])!r}, and {expected[:40]!r} was to come")


class Connection:
    """One connection to the server.

    Attributes:
        server: the server's own name of its process; job numbers mean something only within one.
        max_size: how many bytes a payload may have.
    """

    def __init__(self, address: Address) -> None:
        """Connect.

        Raises:
            Unavailable: the server does not answer.
        """
        self.address = address
        self.is_open = True
        self._watched: tuple[str, ...] = (greenstalk.DEFAULT_TUBE,)
        try:
            plain = socket.create_connection((address.host, address.port), timeout=address.timeout)
        except OSError as error:
            raise self._away(error) from error
        self._socket = SentAhead(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self._socket.settimeout(address.timeout + LONGEST_WAIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            self._client = Client(self._socket, encoding=None)
        except OSError as error:
            self._socket.close()
            raise self._away(error) from error
        (stats,) = self.ask([Command(b"stats\r\n", self._client.stats)])
        if isinstance(stats, greenstalk.Error):
            self.close()
            raise QueueError(f"What answers at {address} is no beanstalkd: {stats!r}.")
        self.server = stats.get("id", "")
        self.max_size = stats.number("max-job-size") if "max-job-size" in stats else 65535

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands in one write, and read their answers; one that is refused has its error as its answer.

        Raises:
            Unavailable: the connection broke, and is closed; any of them may have been done, or not.
        """
        answers: list[Any] = []
        try:
            self._socket.send_ahead([command.text for command in commands])
            for command in commands:
                try:
                    answers.append(command.call())
                except greenstalk.Error as refusal:
                    answers.append(refusal)
        except OSError as error:
            self.close()
            raise self._away(error) from error
        except (ValueError, AssertionError, LookupError) as error:
            self.close()
            reason = f"What answers at {self.address} is no beanstalkd, or was cut ({_told(error)})."
            raise Unavailable(reason) from error
        except BaseException:
            self.close()  # the answers that are still to come would be taken for those of the next commands
            raise
        return answers

    def is_alive(self) -> bool:
        """Whether it is open, and the server has not closed it meanwhile: it says nothing unasked."""
        if not self.is_open:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(0):
            return True
        self.close()
        return False

    def close(self) -> None:
        """The server gives back at once what was reserved by this connection."""
        self.is_open = False
        self._client.close()

    def leave_to_parent(self) -> None:
        """In a child of a fork: close the child's end only, without a lock that a thread of the parent may hold."""
        self.is_open = False
        keep_for_ever(self._client, self._socket)
        descriptor = self._socket.detach()
        if descriptor >= 0:
            os.close(descriptor)

    # commands ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, payload: bytes, *, priority: int, delay: int, ttr: int) -> Command:
        """Into the tube that is used; its answer is the job's number."""
        text = b"put %d %d %d %d\r\n%b\r\n" % (priority, delay, ttr, len(payload), payload)
        return Command(text, partial(self._client.put, payload, priority, delay, ttr))

    def use(self, tube: str) -> Command:
        """What is put and peeked is this tube's."""
        return Command(b"use %b\r\n" % tube.encode(), partial(self._client.use, tube))

    def watch(self, tubes: Sequence[str]) -> list[Command]:
        """What leads to these tubes being watched, and no others."""
        wanted = tuple(dict.fromkeys(tubes))
        if wanted == self._watched:
            return []
        client = self._client
        new = [tube for tube in wanted if tube not in self._watched]
        old = [tube for tube in self._watched if tube not in wanted]
        self._watched = wanted
        return [
            *(Command(b"watch %b\r\n" % tube.encode(), partial(client.watch, tube)) for tube in new),
            *(Command(b"ignore %b\r\n" % tube.encode(), partial(client.ignore, tube)) for tube in old),
        ]

    def reserve(self, seconds: int = 0) -> Command:
        """The next job of the watched tubes; it is waited for, LONGEST_WAIT at most."""
        return Command(b"reserve-with-timeout %d\r\n" % seconds, partial(self._client.reserve, seconds))

    def delete(self, number: int) -> Command:
        """A job that is reserved here, or by nobody."""
        return Command(b"delete %d\r\n" % number, partial(self._client.delete, number))

    def release(self, number: int, *, priority: int, delay: int) -> Command:
        """A job that is reserved here."""
        job = greenstalk.Job(number, b"")
        return Command(
            b"release %d %d %d\r\n" % (number, priority, delay), partial(self._client.release, job, priority, delay)
        )

    def touch(self, number: int) -> Command:
        """Let the reservation last for another TTR."""
        return Command(b"touch %d\r\n" % number, partial(self._client.touch, greenstalk.Job(number, b"")))

    def job(self, number: int) -> Command:
        """What the server knows of a job."""
        return Command(b"stats-job %d\r\n" % number, partial(self._client.stats_job, number))

    def tube(self, tube: str) -> Command:
        """What the server knows of a tube."""
        return Command(b"stats-tube %b\r\n" % tube.encode(), partial(self._client.stats_tube, tube))

    def peek_ready(self) -> Command:
        """The next job of the tube that is used."""
        return Command(b"peek-ready\r\n", self._client.peek_ready)

    def peek_delayed(self) -> Command:
        """The delayed job of the tube that is used which is due first."""
        return Command(b"peek-delayed\r\n", self._client.peek_delayed)

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"beanstalkd at {self.address} does not answer: {_told(error)}")


def _told(error: Exception) -> str:
    """Its words; many have none."""
    return str(error) or type(error).__name__


def named(tubes: Iterable[str]) -> tuple[str, ...]:
    """These names of queues, as tubes.

    Raises:
        QueueError: beanstalkd takes no such name.
    """
    names = tuple(tubes)
    for name in names:
        if not TUBE.fullmatch(name):
            raise QueueError(
                f"beanstalkd takes no queue named {name!r}: a name has at most 200 of the characters A-Z a-z 0-9 "
                f"- + / ; . $ _ ( ), and does not begin with a hyphen."
            )
    return names
