"""What beanstalkd tells, as text; and what is no beanstalkd."""

import socket
import threading
from collections.abc import Iterator

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import QueueError, Unavailable
from lamplighter.queue.drivers.beanstalkd.client import parse_stats
from lamplighter.queue.drivers.beanstalkd.connection import Address, Connection
from lamplighter.queue.drivers.leasing.store import Ended, How
from tests.beanstalkd import Stores

NUMBERS = ("2024_01", "007", "+5", "1_0")


def test_each_value_is_the_text_that_it_is() -> None:
    stats = parse_stats(b'---\ntube: 2024_01\nid: 007\nname: "a"\nage: 12\nempty: ""\n')

    assert stats == {"tube": "2024_01", "id": "007", "name": "a", "age": "12", "empty": ""}
    assert stats.number("age") == 12


@pytest.mark.parametrize("text", [b"", b"x: 1\n", b"---\nx\n"])
def test_what_is_no_dictionary_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="an answer"):
        parse_stats(text)


@pytest.mark.parametrize("name", ["tube", "missing"])
def test_what_is_no_number_is_named(name: str) -> None:
    with pytest.raises(QueueError, match=name):
        parse_stats(b"---\ntube: a\n").number(name)


@pytest.fixture
def page() -> Iterator[Address]:
    """A server that speaks HTTP without the line ends that greenstalk looks for."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(100)
                line.sendall(b"<!DOCTYPE HTML>\n<html>bad request</html>\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield Address("127.0.0.1", listening.getsockname()[1], 5.0)
        thread.join(5)


def test_a_server_that_speaks_http_is_told_as_one(page: Address) -> None:
    with pytest.raises(Unavailable, match=r"is no beanstalkd, or was cut \(AssertionError\)\."):
        Connection(page)


@pytest.mark.beanstalkd
@pytest.mark.parametrize("how", [How.EXCUSED, How.GIVEN_BACK])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_tube_that_looks_like_a_number_keeps_its_jobs(stores: Stores, name: str, how: How) -> None:
    store = stores()
    store.push(name, [Message(b'{"job":"probe"}')], 0)
    (lease,) = store.take([name], 1, ()).leases
    assert lease.queue == name

    (again,) = store.take([name], 1, [Ended(lease, how)]).leases

    assert (again.queue, again.payload) == (name, lease.payload)
    store.take((), 0, [Ended(again, How.DELETED)])
    assert (store.sizes(name).pending, store.sizes(str(int(name))).pending) == (0, 0)
