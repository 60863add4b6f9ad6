"""Headers whose names are no text, in records of the embedded broker."""

import ast
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from lamplighter.contracts import Headers
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.partitions.headers import UNREADABLE, headers_of
from lamplighter.kafka.partitions.partition import Partition
from lamplighter.kafka.scheduling.backlog import Backlog
from lamplighter.kafka.scheduling.delivery import KafkaDelivery
from lamplighter.kafka.scheduling.scheduler import Scheduler
from tests.raw import RawHeaders, send_raw

ROOT = Path(__file__).parents[4]


@pytest.fixture
def address(broker: EmbeddedBroker) -> str:
    """Where a fresh broker is."""
    return broker.address()


def received(address: str, *records: RawHeaders) -> list[Message]:
    """Records with these headers, as the client gives them."""
    send_raw(address, "jobs", *((b"key", b"{}", headers) for headers in records))
    consumer = Consumer({"bootstrap.servers": address, "group.id": "headers", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition("jobs", 0, 0)])
    found: list[Message] = []
    while len(found) < len(records):
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        found.append(message)
    consumer.close()
    return found


def test_a_name_that_is_no_utf_8_keeps_its_value_and_is_told_once(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [(b"trace", b"\xff"), (b"caf\xe9", b"Latin-1"), (b"none", None), (b"\xff\xfe", None), (b"", b"empty")]
    [message] = received(address, headers)

    found: Headers = headers_of(message)
    again = headers_of(message)

    stand_in = f"{UNREADABLE}:caf\\xe9"
    assert found == [("trace", b"\xff"), (stand_in, b"Latin-1"), ("none", None), (UNREADABLE, None), ("", b"empty")]
    assert again == found
    [record] = caplog.records
    assert (record.__dict__["position"], record.__dict__["headers"]) == ("jobs[0]@0", f"{stand_in}, {UNREADABLE}")


def test_the_hundredth_is_read_as_the_first(address: str) -> None:
    messages = received(address, *([(b"caf\xe9", b"%d" % n), (b"\xff", None)] for n in range(100)))

    found = [headers_of(message) for message in messages]

    assert found == [[(f"{UNREADABLE}:caf\\xe9", b"%d" % n), (UNREADABLE, None)] for n in range(100)]


def test_one_whose_list_another_thread_has_just_had_made_is_read_as_well(address: str) -> None:
    [message] = received(address, [(b"\xed\xa0\x80", b"half a surrogate pair"), (b"trace", b"1")])
    with pytest.raises(SystemError):
        message.headers()

    assert headers_of(message) == [(UNREADABLE, b"half a surrogate pair"), ("trace", b"1")]


def test_readable_headers_are_what_the_client_gives(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with_some, without = received(address, [("é".encode(), b"\x00"), (b"same", b"1"), (b"same", b"1")], [])

    assert headers_of(with_some) == [("é", b"\x00"), ("same", b"1"), ("same", b"1")]
    assert list(headers_of(without)) == []
    assert caplog.records == []


def test_a_delivery_can_be_asked_for_them_again_and_again(address: str) -> None:
    [message] = received(address, [(b"\xff" * 1000, b"1")])
    backlog = Backlog(Partition("kafka", "jobs", 0, offset=0, metadata=None), Scheduler({"jobs": 1}), "key")
    delivery = KafkaDelivery(backlog, message)

    [(name, value)] = delivery.headers

    assert (name[:21], len(name), value) == (f"{UNREADABLE}:\\xf", len(UNREADABLE) + 256, b"1")
    assert delivery.headers == [(name, value)]


def test_a_client_that_says_nothing_of_them_gives_what_is_known() -> None:
    class Unwilling:
        """As confluent-kafka would be if it let the error of the name through."""

        headers_set: object = None

        def headers(self) -> object:
            if self.headers_set is None:
                return b"\xff".decode()
            return self.headers_set

        def set_headers(self, headers: object) -> None:
            self.headers_set = headers

        def topic(self) -> str:
            return "jobs"

        def partition(self) -> int:
            return 0

        def offset(self) -> int:
            return 0

    assert headers_of(Unwilling()) == [(f"{UNREADABLE}:\\xff", None)]


def test_nobody_else_asks_a_message_for_its_headers() -> None:
    callers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lamplighter").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "headers"
    }

    assert callers == set()
