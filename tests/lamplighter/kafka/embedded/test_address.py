"""A program that lives longer than the embedded broker goes on with the next one."""

import time
from pathlib import Path

import pytest

from lamplighter.contracts import Message
from lamplighter.kafka.embedded import address as addressing
from lamplighter.kafka.embedded.address import BrokerAddress, Placements
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.queue.failed import Failure
from tests.harness import Broker, end_broker
from tests.lamplighter.kafka.test_connections import connections_of
from tests.threads import THREADS, at_once

MESSAGE = Message(b'{"job":"x"}', b"k", ())
FAILURE = Failure(
    connection="kafka", queue="store", payload=b'{"job":"x"}', error=RuntimeError("boom"), key=b"k", headers=[],
    origin="store[0]@7", timestamp_ms=5, uuid="u",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addressing, "LOOK_EVERY", 0.0)


def test_pushes_go_to_the_broker_that_there_is_now(framework: Path, broker: EmbeddedBroker) -> None:
    connections = connections_of(framework, {"kafka": {"brokers": "embedded", "queue": "store"}})
    queue = connections.queue("kafka")
    queue.push(MESSAGE, queue="store")
    before = broker.address()
    end_broker(framework)

    queue.push(MESSAGE, queue="store")
    count = queue.bulk([MESSAGE, MESSAGE], queue="store")

    assert count == 2
    assert broker.address() != before
    assert sum(Broker(broker.address()).ends("store").values()) == 3
    assert queue.close(timeout=10)


def test_dead_letters_go_to_the_broker_that_there_is_now(framework: Path, broker: EmbeddedBroker) -> None:
    options = {"brokers": "embedded", "queue": "store", "dead_letter_topic": "letters"}
    letters = connections_of(framework, {"kafka": options}).dead_letters("kafka")
    letters.record(FAILURE)
    assert len([*letters.records()]) == 1
    end_broker(framework)

    letters.record(FAILURE, id="after")

    assert sum(Broker(broker.address()).ends("letters").values()) == 1
    assert [record.id for record in letters.records()] == ["after"]


def test_many_threads_find_one_broker_and_make_one_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addressing, "LOOK_EVERY", 60.0)
    found: list[str] = []
    made: list[str] = []

    class FakePlacement:
        def __init__(self, address: str) -> None:
            time.sleep(0.05)  # as long as other threads need to come here, too
            made.append(address)

        def place(self, topic: str, message: Message) -> int:
            return 3

    def find() -> str:
        time.sleep(0.05)
        found.append("a:1")
        return "a:1"

    placements = Placements(BrokerAddress(find, lambda _: False), FakePlacement)  # type: ignore[arg-type]

    outcomes = at_once(lambda: placements.place("store", MESSAGE))

    assert (outcomes, found, made) == ([3] * THREADS, ["a:1"], ["a:1"])
