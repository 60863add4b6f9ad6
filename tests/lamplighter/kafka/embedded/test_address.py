"""A program that lives longer than the embedded broker goes on with the next one."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded import address as addressing
from lamplighter.kafka.embedded.address import BrokerAddress, Placements
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.queue.failed import Failure
from tests.harness import Broker, end_broker, wait_for
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


@pytest.mark.parametrize("stale", [None, '{"pid": 4242, "address": "127.0.0.1:1"}'])
def test_pushes_stay_with_a_broker_whose_file_was_deleted_or_replaced(
    framework: Path, broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, stale: str | None
) -> None:
    connections = connections_of(framework, {"kafka": {"brokers": "embedded", "queue": "store"}})
    queue = connections.queue("kafka")
    before = broker.address()
    queue.push(MESSAGE, queue="store")
    file = framework / "embedded-broker.json"
    file.unlink()
    if stale is not None:
        file.write_text(stale)
    caplog.clear()

    pushes = 1
    while broker.running() is None:
        queue.push(MESSAGE, queue="store")
        pushes += 1

    assert broker.address() == before
    assert sum(Broker(before).ends("store").values()) == pushes > 1
    assert caplog.text == ""
    assert queue.close(timeout=10)


def put_a_loop(storage: Path) -> Path:
    """A link that leads to itself, in the place of `storage`."""
    kept = storage.rename(storage.with_name("kept"))
    storage.symlink_to(storage)
    return kept


def put_a_file(storage: Path) -> Path:
    """A file in the place of `storage`."""
    kept = storage.rename(storage.with_name("kept"))
    storage.write_text("")
    return kept


@pytest.mark.parametrize("put", [put_a_loop, put_a_file])
def test_pushes_go_on_or_name_the_folder_that_can_not_be_looked_at(
    framework: Path, broker: EmbeddedBroker, put: Callable[[Path], Path]
) -> None:
    connections = connections_of(framework, {"kafka": {"brokers": "embedded", "queue": "store"}})
    queue = connections.queue("kafka")
    queue.push(MESSAGE, queue="store")
    running = broker.running()
    assert running is not None
    storage = framework.parent
    kept = put(storage)

    queue.push(MESSAGE, queue="store")
    end_broker(kept / "framework")
    wait_for(lambda: not running.answers(), what="the end of its last thread")
    with pytest.raises(BrokerUnavailable, match=f"can't be used in {framework}"):
        queue.push(MESSAGE, queue="store")

    storage.unlink()
    kept.rename(storage)
    assert queue.close(timeout=10)


@pytest.mark.parametrize("put", [put_a_loop, put_a_file])
def test_a_new_program_is_told_of_a_folder_that_can_not_be_looked_at(
    framework: Path, put: Callable[[Path], Path]
) -> None:
    queue = connections_of(framework, {"kafka": {"brokers": "embedded", "queue": "store"}}).queue("kafka")
    kept = put(framework.parent)

    with pytest.raises(BrokerUnavailable, match=f"can't be used in {framework}"):
        queue.push(MESSAGE, queue="store")

    framework.parent.unlink()
    kept.rename(framework.parent)


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
