"""The moving thread, where its client meets an error that brokers in trouble bring."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamplighter.kafka.delays import mover
from lamplighter.kafka.delays.clock import BrokerClock
from lamplighter.kafka.delays.instance_ids import HeldInstanceId, take_instance_id
from lamplighter.kafka.delays.targets import targets_of
from lamplighter.kafka.producing.partitioner import any_partition
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.native import KafkaError, KafkaException
from lamplighter.kafka.settings.settings import KafkaSettings
from tests.harness import wait_for

FENCED = KafkaError(
    KafkaError._FATAL, "Fatal error: Static consumer fenced by other consumer with same group.instance.id"
)
AWAY = KafkaError(KafkaError._STATE, "Local: Erroneous state")
SETTINGS = KafkaSettings(brokers="127.0.0.1:1")


class Failing:
    """A consumer whose first subscription raises; those that come after it have nothing to do."""

    error: KafkaError
    made: list[str]

    def __init__(self, config: dict[str, Any]) -> None:
        self.made.append(config["group.instance.id"])

    def subscribe(self, topics: list[str], **callbacks: object) -> None:
        if len(self.made) == 1:
            raise KafkaException(self.error)

    def list_topics(self, *arguments: object, **options: object) -> object:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def poll(self, wait: float) -> None:
        threading.Event().wait(min(wait, 0.01))

    def memberid(self) -> str:
        return ""

    def unsubscribe(self) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def name(tmp_path: Path) -> Iterator[HeldInstanceId]:
    """A name that is held."""
    name = take_instance_id(tmp_path, "group")
    assert name is not None
    yield name
    name.release()


def mover_of(name: HeldInstanceId) -> mover.Mover:
    """A mover of that name, not started."""
    return mover.Mover(
        {"bootstrap.servers": "127.0.0.1:1", "group.id": "group"},
        SETTINGS.tiers,
        BrokerClock(),
        KafkaProducer(SETTINGS.producer_config(), timeout=1),
        targets_of(SETTINGS),
        partitioner=any_partition,
        instance_id=name,
    )


@pytest.mark.parametrize(
    ("error", "line", "has_new_name"),
    [
        (FENCED, "another worker moves delayed jobs under this one's name; it has a new one, and begins again", True),
        (AWAY, "moving delayed jobs has ended; it begins again", False),
    ],
    ids=["fenced", "another error"],
)
def test_a_mover_whose_client_fails_says_so_in_one_line_and_begins_again(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: HeldInstanceId,
    error: KafkaError,
    line: str,
    has_new_name: bool,
) -> None:
    monkeypatch.setattr(Failing, "error", error, raising=False)
    monkeypatch.setattr(Failing, "made", [], raising=False)
    monkeypatch.setattr(mover, "Consumer", Failing)
    monkeypatch.setattr(mover, "AWAY", 0.01)
    moving = mover_of(name)

    moving.start()
    wait_for(lambda: len(Failing.made) == 2, what="a second client")
    assert moving.stop(timeout=5)

    [told] = [record for record in caplog.records if record.name == mover.__name__ and record.levelno > logging.INFO]
    assert told.getMessage() == line
    assert told.exc_info is None
    assert error.str() in vars(told)["reason"]
    assert (Failing.made[0] != Failing.made[1]) == has_new_name


def test_what_a_mover_has_learned_of_its_group_outlives_its_client(
    monkeypatch: pytest.MonkeyPatch, name: HeldInstanceId
) -> None:
    monkeypatch.setattr(Failing, "made", [], raising=False)
    moving = mover_of(name)
    client: Any = Failing({"group.instance.id": name.text})
    client.made.append("another, so that no subscription fails")

    known = []
    for _life in range(2):
        moving._subscribe(client)
        known.append(moving._unowned)

    assert known[0] is not None
    assert known[0] is known[1]
