"""Failed jobs in a table, in a topic, or in both."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.deadletters import letters
from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.deadletters.store import DeadLetterFailedJobs
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.producing.partitioner import any_partition
from lamplighter.kafka.producing.producer import KafkaProducer
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.queue.failed import FailedJobs, Failure, NullFailedJobs, Wanted
from lamplighter.queue.failed.database import DatabaseFailedJobs
from tests.threads import THREADS, at_once

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
        return self.both.record(failure(uuid, **fields))


def failure(uuid: str = "u", **fields: Any) -> Failure:
    """What is told of a job that has failed."""
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
    return Failure(**{**given, "uuid": uuid, **fields})


def test_many_threads_that_fail_a_job_first_write_by_one_producer(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[KafkaProducer] = []

    def make(*arguments: Any, **options: Any) -> KafkaProducer:
        time.sleep(0.05)  # as long as other threads need to come here, too
        made.append(KafkaProducer(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(letters, "KafkaProducer", make)
    settings = KafkaSettings(brokers="embedded", dead_letter_topic="letters")
    topic = DeadLetters("kafka", settings, address=broker.address, partitioner=any_partition)

    outcomes = at_once(lambda: topic.record(failure()))

    assert (len(made), len(outcomes), {type(outcome) for outcome in outcomes}) == (1, THREADS, {str})


def forget(store: FailedJobs, *ids: str) -> int:
    """Delete jobs as they are now."""
    return store.forget([*store.records(ids=ids)])


def origins(store: FailedJobs) -> dict[str, str | None]:
    """Where each job stood, by its id."""
    return {job.id: job.origin for job in store.all()}


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


MakeTopic = Callable[..., DeadLetters]


@pytest.fixture
def make_topic(broker: EmbeddedBroker) -> MakeTopic:
    """Makes what one process knows of a topic on the embedded broker."""
    settings = KafkaSettings(brokers="embedded", dead_letter_topic="letters")

    def make(connection: str = "kafka") -> DeadLetters:
        return DeadLetters(connection, settings, address=broker.address, partitioner=any_partition)

    return make


@pytest.fixture
def topic(make_topic: MakeTopic) -> DeadLetters:
    """The topic."""
    return make_topic()


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

    told = [forget(stores.both, "u-1"), forget(stores.both, "u-1")]

    assert told == [1, 0]
    assert stores.table.ids() == stores.topic.ids() == ["u-2"]


def test_what_is_in_one_place_alone_is_found_and_forgotten_there(stores: Stores) -> None:
    stores.record("u-1")
    stores.record("u-2", payload=b"2")
    stores.record("u-3", payload=b"3")
    forget(stores.table, "u-1")
    forget(stores.topic, "u-2")

    assert sorted(stores.both.ids()) == ["u-1", "u-2", "u-3"]
    assert [job.payload for job in stores.both.all()] == [b"3", b"2", b'{"job":"x"}']
    assert forget(stores.both, "u-1", "u-2", "u-3") == 3
    assert stores.both.ids() == []


def test_a_sender_that_repeats_a_uuid_costs_no_job_in_either(stores: Stores) -> None:
    stores.record("u-1", payload=b"1")
    stores.record("u-1", payload=b"2", origin="store[0]@8")

    assert len(stores.table.ids()) == 2
    assert origins(stores.topic) == origins(stores.table) == origins(stores.both)


@pytest.mark.parametrize("kind", ["both", "alone"])
def test_one_event_on_three_queues_is_three_failed_jobs(kind: str, stores: Stores, alone: Stores) -> None:
    used = {"both": stores, "alone": alone}[kind]
    for queue in ("store", "audit", "billing"):
        used.record(queue=queue, origin=f"{queue}[0]@0")
    before = origins(used.both)
    [audit] = [id for id, origin in before.items() if origin == "audit[0]@0"]

    forget(used.both, audit)

    assert sorted(filter(None, before.values())) == ["audit[0]@0", "billing[0]@0", "store[0]@0"]
    assert "u" in before
    assert origins(used.both) == {id: origin for id, origin in before.items() if id != audit}


@pytest.mark.parametrize("kind", ["both", "alone"])
def test_what_has_failed_again_since_it_was_read_stays(kind: str, stores: Stores, alone: Stores) -> None:
    used = {"both": stores, "alone": alone}[kind]
    used.record(origin="store[0]@7")
    read = [*used.both.records()]
    used.record(origin="store[0]@8")  # it was retried
    used.record(origin="store[0]@7", error=RuntimeError("again"))  # its worker had died before its commit

    used.both.forget(read)

    assert list(used.both.read(read)) == []
    assert sorted(filter(None, origins(used.both).values())) == ["store[0]@7", "store[0]@8"]


@pytest.mark.parametrize("kind", ["both", "alone"])
def test_a_retried_job_that_fails_again_is_a_new_failure(kind: str, stores: Stores, alone: Stores) -> None:
    used = {"both": stores, "alone": alone}[kind]
    used.record(origin="store[0]@7")
    read = [*used.both.records()]
    used.record(origin="store[0]@8")
    between = origins(used.both)

    count = used.both.forget(read)

    assert count == 1
    assert between["u"] == "store[0]@7"
    assert origins(used.both) == {id: origin for id, origin in between.items() if id != "u"}


def test_what_is_gone_when_it_is_read_leaves_the_others_in_their_order(stores: Stores) -> None:
    for number in range(5):
        stores.record(f"u-{number}", origin=f"store[0]@{number}")
    forget(stores.table, "u-0", "u-1")
    read = [*stores.both.records()]
    forget(stores.topic, "u-0", "u-3")
    forget(stores.table, "u-2")

    jobs = [job.id for job in stores.both.read(read)]

    assert [record.id for record in read] == ["u-4", "u-3", "u-2", "u-1", "u-0"]
    assert jobs == ["u-4", "u-3", "u-1"]


def test_what_another_process_has_dealt_with_is_not_read_again(alone: Stores, make_topic: MakeTopic) -> None:
    alone.record("u-1")
    alone.record("u-2", origin="store[0]@8")
    other = make_topic()
    listed = [*other.records()]
    other._read_at = 0.0  # some time ago

    forget(alone.both, "u-1")

    assert [job.id for job in other.read(listed)] == ["u-2"]


def test_connections_that_share_a_topic_end_no_letters_of_each_other(
    stores: Stores, topic: DeadLetters, make_topic: MakeTopic
) -> None:
    both = DeadLetterFailedJobs(NullFailedJobs(), {"kafka": topic, "other": make_topic("other")})
    for connection in ("kafka", "other"):
        both.record(failure(connection=connection))
    jobs = {job.connection: job for job in both.all()}

    both.forget([jobs["kafka"]])

    assert [job.connection for job in both.all()] == ["other"]


def test_letters_and_marks_without_what_is_told_today_are_still_understood(alone: Stores, topic: DeadLetters) -> None:
    def send(key: bytes, **told: str) -> None:
        headers = [(f"x-failed-{name}", text.encode()) for name, text in {"version": "1", **told}.items()]
        topic._get_producer().send("letters", [(Message(b"p", key, headers), 0)], bulk=False)

    place = {"connection": "kafka", "topic": "store", "partition": "0", "offset": "1", "at": "2026-11-25T12:00:00Z"}
    for number in (1, 2):
        send(b"k", id=f"u-{number}", identity=f"i-{number}", **place)
    send(b"i-1", settled="i-1")

    before = alone.both.ids()
    count = forget(alone.both, "u-2")

    assert (before, count, alone.both.ids()) == (["u-2"], 1, [])


def test_a_letter_from_before_there_was_a_table_keeps_out_of_the_way_of_a_row(stores: Stores, alone: Stores) -> None:
    alone.record(origin="store[0]@7")
    stores.record(origin="store[0]@8")
    listed = origins(stores.both)
    [letter] = [id for id in listed if id != "u"]

    count = forget(stores.both, "u")

    assert listed == {"u": "store[0]@8", letter: "store[0]@7"}
    assert (count, stores.table.ids()) == (1, [])
    assert list(origins(stores.both).values()) == ["store[0]@7"]


def test_an_identity_names_its_letter_whatever_that_is_called_meanwhile(alone: Stores) -> None:
    # Keys that lie in two partitions: there the letter that failed first has the id while it is there.
    for offset in range(8):
        alone.record(origin=f"store[0]@{offset}", key=b"%d" % offset)
    listed = origins(alone.both)

    left = [id for id in listed if id != "u"]
    forget(alone.both, "u")
    found = [*alone.both.records(ids=left)]

    assert [record.id for record in found] == left
    assert {record.origin for record in found} == {listed[id] for id in left}


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

    monkeypatch.setattr(stores.topic, "records", refuse)

    with pytest.raises(BrokerUnavailable):
        stores.both.find("u-1")


def test_flushing_counts_what_was_there(stores: Stores) -> None:
    stores.record("u-1")
    stores.record("u-2", payload=b"2")

    counts = [stores.both.flush(hours=1), stores.both.flush(), stores.both.flush()]

    assert counts == [0, 2, 0]
    assert stores.both.ids() == []


@pytest.mark.parametrize("kind", ["both", "alone"])
def test_the_jobs_of_a_queue_and_the_old_ones_are_found(kind: str, stores: Stores, alone: Stores) -> None:
    used = {"both": stores, "alone": alone}[kind]
    for number, queue in enumerate(("store", "audit", "store")):
        used.record(f"u-{number}", queue=queue, origin=f"{queue}[0]@{number}")
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    assert [job.id for job in used.both.all(Wanted(queue="store"))] == ["u-2", "u-0"]
    assert [*used.both.records(Wanted(until=long_ago))] == []
    assert used.both.prune(long_ago) == 0
    assert used.both.prune(datetime.now(UTC) + timedelta(minutes=1)) == 3
    assert used.both.ids() == []


def test_rows_and_letters_are_joined_a_page_at_a_time(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.queue.failed.database.CHUNK", 2)
    monkeypatch.setattr("lamplighter.kafka.deadletters.store.CHUNK", 3)
    for number in range(9):
        stores.record(f"u-{number}", origin=f"store[0]@{number}")
    forget(stores.table, "u-1", "u-4")
    forget(stores.topic, "u-2")

    records = [*stores.both.records()]

    assert [record.id for record in records] == [f"u-{number}" for number in reversed(range(9))]
    assert [(record.version.row is None, record.version.letter is None) for record in records] == [
        (number in (1, 4), number == 2) for number in reversed(range(9))
    ]
    assert stores.both.flush() == 9
    assert stores.table.ids() == stores.topic.ids() == []


def test_what_fails_while_the_list_is_read_is_in_the_next_one(stores: Stores) -> None:
    stores.record("u-1", origin="store[0]@1")
    records = stores.both.records()
    first = next(records)
    stores.record("u-2", origin="store[0]@2")

    assert [first.id, *(record.id for record in records)] == ["u-1"]
    assert sorted(stores.both.ids()) == ["u-1", "u-2"]


def test_numbers_of_rows_are_the_ids_in_both(table: DatabaseFailedJobs, topic: DeadLetters) -> None:
    table.has_numbers = True
    stores = Stores(table, topic)
    ids = [stores.record(origin=f"store[0]@{number}") for number in range(4)]
    again = stores.record(origin="store[0]@3", error=RuntimeError("again"))

    assert (ids[:3], again, stores.both.has_numbers) == (["1", "2", "3"], stores.topic.ids()[0], True)
    assert stores.both.ids() == [again, "3", "2", "1"]
    ranged = [*stores.both.records(Wanted(numbers=((2, 3),)))]
    assert [record.id for record in ranged] == ["3", "2"]
    assert stores.both.forget(ranged) == 2
    assert stores.both.ids() == stores.topic.ids() == [again, "1"]
