"""Failed jobs in a table, in a topic, or in both."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.deadletters.store import DeadLetterFailedJobs
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.queue import any_partition
from lamplighter.kafka.settings import KafkaSettings
from lamplighter.queue.failed import FailedJobs, Failure, NullFailedJobs
from lamplighter.queue.failed.database import DatabaseFailedJobs

ROOT = Path(__file__).parents[4]


@dataclass
class Stores:
    """The table, the topic and the two as one."""

    table: FailedJobs
    topic: DeadLetters
    both: DeadLetterFailedJobs = field(init=False)

    def __post_init__(self) -> None:
        self.both = DeadLetterFailedJobs(self.table, {"kafka": self.topic})

    def record(self, uuid: str = "u", **fields: Any) -> str:
        """Record a failed job."""
        given: dict[str, Any] = {
            "connection": "kafka",
            "queue": "store",
            "payload": b'{"job":"x"}',
            "error": RuntimeError("boom"),
            "key": b"k",
            "headers": [],
            "origin": "store[0]@7",
            "timestamp_ms": 5,
        }
        return self.both.record(Failure(**{**given, "uuid": uuid, **fields}))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[DatabaseFailedJobs]:
    """The table."""
    options = {"driver": "sqlite", "database": str(tmp_path / "test.sqlite")}
    manager = DatabaseManager(
        Repository({"database": {"default": "test", "connections": {"test": options}}}), lambda path: tmp_path / path
    )
    Migrator(manager.engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    yield DatabaseFailedJobs(manager, database=None, table="failed_jobs")
    manager.dispose()


@pytest.fixture
def topic(broker: EmbeddedBroker) -> DeadLetters:
    """A topic on the embedded broker."""
    settings = KafkaSettings(brokers="embedded", dead_letter_topic="letters")
    return DeadLetters("kafka", settings, address=broker.address, place=any_partition)


@pytest.fixture
def stores(table: DatabaseFailedJobs, topic: DeadLetters) -> Stores:
    """Both."""
    return Stores(table, topic)


@pytest.fixture
def alone(topic: DeadLetters) -> Stores:
    """The topic, with the table switched off."""
    return Stores(NullFailedJobs(), topic)


def test_a_job_is_in_both_under_one_id_and_told_once(stores: Stores) -> None:
    id = stores.record("u-1")

    assert id == "u-1"
    assert [job.id for job in stores.table.all()] == [job.id for job in stores.topic.all()] == ["u-1"]
    assert [job.id for job in stores.both.all()] == stores.both.ids() == ["u-1"]


def test_a_job_is_forgotten_in_both(stores: Stores) -> None:
    stores.record("u-1")
    stores.record("u-2", payload=b"2")

    told = [stores.both.forget("u-1"), stores.both.forget("u-1")]

    assert told == [True, False]
    assert stores.table.ids() == stores.topic.ids() == ["u-2"]


def test_what_is_in_one_place_alone_is_found_and_forgotten_there(stores: Stores) -> None:
    stores.record("u-1")
    stores.record("u-2", payload=b"2")
    stores.table.forget("u-1")
    stores.topic.forget("u-2")

    assert sorted(stores.both.ids()) == ["u-1", "u-2"]
    assert stores.both.find("u-1") is not None
    assert [stores.both.forget(id) for id in ("u-1", "u-2")] == [True, True]
    assert stores.both.ids() == []


def test_a_sender_that_repeats_a_uuid_costs_no_job_in_either(stores: Stores) -> None:
    stores.record("u-1", payload=b"1")
    stores.record("u-1", payload=b"2", origin="store[0]@8")

    assert len(stores.table.ids()) == 2
    assert sorted(stores.topic.ids()) == sorted(stores.table.ids())


def test_the_topic_alone_needs_no_table_and_drops_nothing(alone: Stores, caplog: pytest.LogCaptureFixture) -> None:
    alone.record("u-1")

    assert alone.both.ids() == ["u-1"]
    assert "dropped" not in caplog.text


def test_a_job_of_another_connection_goes_into_the_table_alone(stores: Stores) -> None:
    stores.record("u-1", connection="redis")

    assert (stores.table.ids(), stores.topic.ids()) == (["u-1"], [])


def test_a_topic_that_refuses_is_told_and_a_second_try_repeats_no_row(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise BrokerUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(stores.topic, "record", refuse)
        with pytest.raises(BrokerUnavailable):
            stores.record("u-1")
    stores.record("u-1")

    assert len(list(stores.table.all())) == len(list(stores.topic.all())) == 1


def test_a_topic_that_is_away_is_told_before_a_job_is_put_back(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.record("u-1")

    def refuse(*arguments: object) -> None:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(stores.topic, "find", refuse)

    with pytest.raises(BrokerUnavailable):
        stores.both.find("u-1")


def test_flushing_counts_what_was_there(stores: Stores) -> None:
    stores.record("u-1")
    stores.record("u-2", payload=b"2")

    counts = [stores.both.flush(hours=1), stores.both.flush(), stores.both.flush()]

    assert counts == [0, 2, 0]
    assert stores.both.ids() == []
