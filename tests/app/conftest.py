"""A Data Store on a real database, whose answers are caught where the broker would be."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app.Jobs.get_data import GetData
from app.Jobs.store_data import StoreData
from app.Jobs.update_data import UpdateData
from app.Services.answers import Answers
from app.Services.rows import Rows
from lamplighter.config import Repository
from lamplighter.container import Container
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.errors import MessageTooLarge
from lamplighter.events import Dispatcher as Events
from lamplighter.queue.dispatching.dispatcher import Dispatcher
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.worker.many import Many, begin_many
from lamplighter.queue.worker.runner import Runner, Start
from tests.databases import KINDS, empty_database

ROOT = Path(__file__).parents[2]


@dataclass
class Answer:
    """One message on the topic of answers."""

    topic: str
    key: bytes | None
    job: str
    data: dict[str, Any]
    payload: bytes = field(compare=False)

    @property
    def size(self) -> int:
        """What a broker's limit is compared with."""
        return len(self.payload) + len(self.key or b"")

    @property
    def text(self) -> bytes:
        """The data as they were written."""
        return self.payload.partition(b'"data":')[2].rpartition(b',"createdAt":')[0]


@dataclass
class CaughtQueue(KeepsNoJobs):
    """A connection that keeps what is pushed, as the broker would; and tells how much is too much, or does not."""

    connection: str = "kafka"
    default_queue: str = "store"
    max_message_bytes: int = 1_000_000
    tells: bool = True
    answers: list[Answer] = field(default_factory=list)

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Keep a message."""
        envelope = json.loads(message.payload)
        answer = Answer(queue, message.key, envelope["job"], envelope["data"], message.payload)
        if answer.size > self.max_message_bytes:
            told = {"size": answer.size, "limit": self.max_message_bytes} if self.tells else {}
            raise MessageTooLarge("No broker would take it.", **told)
        self.answers.append(answer)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Keep messages."""
        for message in messages:
            self.push(message, queue=queue)
        return len(self.answers)


class DataStore:
    """Runs events as the worker does, and gives their answers; its clock stands still where it is given a time."""

    def __init__(self, databases: DatabaseManager, zone: str = "Europe/London", *, at: datetime | None = None) -> None:
        self.databases = databases
        self.queue = CaughtQueue()
        container = Container()
        manager = QueueManager(
            Repository({"queue": {"default": "kafka", "connections": {"kafka": {"driver": "caught"}}}})
        )
        manager.extend("caught", lambda name, options: self.queue)
        registry = Registry(container)
        self.dispatcher = Dispatcher(manager, Events(), lambda: registry)
        self.table_rows = container.instance(Rows, Rows(databases.statements(), ZoneInfo(zone), at=at))
        container.instance(Answers, Answers(self.dispatcher, "api"))
        registry.register(StoreData, UpdateData, GetData)
        self.runner = Runner(registry, container, Policy(tries=1, backoff=(), timeout=0))

    def send(self, job: str, data: Any, key: bytes | str | None = "k1", *, id: Any = "payload-id") -> Answer:
        """Run one event; its one answer."""
        return self.receive(_payload(job, data, id), key)

    def receive(self, payload: bytes, key: bytes | str | None = "k1") -> Answer:
        """Run one message; its one answer."""
        before = len(self.queue.answers)
        self.runner.run(self._start(payload, key))
        assert len(self.queue.answers) == before + 1
        return self.queue.answers[-1]

    def send_many(self, job: str, *events: tuple[Any, bytes | str | None]) -> list[Answer]:
        """Run events (data, key) in one call; their answers."""
        before = len(self.queue.answers)
        self.call(job, *events)
        return self.queue.answers[before:]

    def call(self, job: str, *events: tuple[Any, bytes | str | None]) -> Many:
        """Run events (data, key) in one call; the call."""
        first, *others = (self._start(_payload(job, data, "payload-id"), key) for data, key in events)
        many = begin_many(first, self.runner, most=len(events))
        for start in others:
            many.add(start)
        self.runner.run(many)
        return many

    def fail(self, job: str, data: Any, key: bytes | str | None = "k1", *, id: Any = "payload-id") -> Answer:
        """Let one event fail for good; its answer."""
        self.runner.run_failed(self._start(_payload(job, data, id), key), RuntimeError("boom"))
        return self.queue.answers[-1]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table."""
        with self.databases.engine().connect() as connection:
            return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]

    def _start(self, payload: bytes, key: bytes | str | None) -> Start:
        raw = key.encode() if isinstance(key, str) else key
        start = self.runner.start(SyncDelivery(Message(payload, raw), "kafka", "store"))
        self.runner.read(start)
        return start


def _payload(job: str, data: Any, id: Any) -> bytes:
    envelope = {"displayName": job, "job": job, "maxTries": None, "timeout": None, "data": data, "id": id}
    return json.dumps(envelope).encode()


@pytest.fixture(params=KINDS)
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseManager]:
    """A fresh database with our tables."""
    manager = empty_database(request.param, tmp_path)
    Migrator(manager.engine(), ROOT / "database/migrations").migrate(lambda name, seconds: None)
    yield manager
    manager.dispose()


@pytest.fixture
def store(databases: DatabaseManager) -> DataStore:
    """A Data Store with empty tables."""
    return DataStore(databases)
