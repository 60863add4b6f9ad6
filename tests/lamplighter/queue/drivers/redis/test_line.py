"""Connections that the kernel keeps from waiting too long."""

import socket
import time
from collections.abc import Iterator

import pytest

from lamplighter.queue.drivers.redis.line import wait_by_client, wait_by_kernel

SECONDS = 0.05


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    near, far = socket.socketpair()
    near.settimeout(SECONDS)
    yield near, far
    near.close()
    far.close()


def test_an_answer_that_does_not_come_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    wait_by_kernel(ends[0], SECONDS)
    began = time.monotonic()

    with pytest.raises(BlockingIOError):
        ends[0].recv(1)

    assert SECONDS / 2 < time.monotonic() - began < 5


def test_a_reader_that_takes_nothing_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    wait_by_kernel(ends[0], SECONDS)

    with pytest.raises(BlockingIOError):
        ends[0].sendall(bytes(50_000_000))


def test_what_is_given_back_waits_as_before(ends: tuple[socket.socket, socket.socket]) -> None:
    wait_by_kernel(ends[0], SECONDS / 10)

    wait_by_client(ends[0], SECONDS)

    assert ends[0].gettimeout() == SECONDS
    with pytest.raises(TimeoutError):
        ends[0].recv(1)
