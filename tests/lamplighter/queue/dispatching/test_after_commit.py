"""Dispatches that wait for the commit of what they are about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from lamplighter.contracts import Events
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import InvalidPayload, Unavailable
from lamplighter.foundation.application import Application
from lamplighter.queue.dispatching.dispatcher import UNSET, Dispatcher
from lamplighter.queue.events import JobQueued
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import ListDelivery, ListQueue

CONFIG = {
    "queue": """
config = {"default": "waits", "connections": {
    "waits": {"driver": "list", "after_commit": True},
    "at once": {"driver": "list"},
    "failover": {"driver": "failover", "connections": ["at once", "waits"]},
    "kafka": {"driver": "kafka", "after_commit": "1", "brokers": "localhost:1"},
}}
""",
    "database": """
config = {"default": "test", "connections": {"test": {"driver": "sqlite", "database": "test.sqlite"}}}
""",
}


@dataclass(frozen=True)
class Letter(Job):
    """A job about a row."""

    name = "letter"
    to: str

    def handle(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Ordering(Job):
    """Writes a row, and dispatches."""

    name = "ordering"
    end: str = ""

    def handle(self, session: Session, dispatcher: Dispatcher) -> None:
        """Write, dispatch, then end as the test says."""
        session.execute(text("INSERT INTO orders VALUES (1)"))
        dispatcher.dispatch(Letter("you"))
        if self.end == "raise":
            raise RuntimeError("no order")
        if self.end == "commit":
            session.commit()


class Scene:
    """An application with connections that are lists."""

    def __init__(self, folder: Path) -> None:
        (folder / "config").mkdir()
        for name, config in CONFIG.items():
            (folder / f"config/{name}.py").write_text(config)
        self.app = Application(
            folder,
            providers=[
                "lamplighter.database.provider:DatabaseServiceProvider",
                "lamplighter.queue.provider:QueueServiceProvider",
                "lamplighter.kafka.provider:KafkaServiceProvider",
            ],
        ).bootstrap()
        self.app.make(Registry).register(Letter, Ordering)
        self.queues = self.app.make(QueueManager)
        self.queues.extend("list", lambda name, options: ListQueue(connection=name))
        self.databases = self.app.make(DatabaseManager)
        self.dispatcher = self.app.make(Dispatcher)
        self.told: list[JobQueued] = []
        self.app.make(Events).listen(JobQueued, self.told.append)
        with self.databases.engine().begin() as connection:
            connection.execute(text("CREATE TABLE orders (id INTEGER)"))

    @property
    def line(self) -> list[ListDelivery]:
        """What is on the connection that waits."""
        return list(self.list_of("waits").line)

    def list_of(self, connection: str) -> ListQueue:
        """A connection."""
        found = self.queues.connection(connection)
        assert isinstance(found, ListQueue)
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """An application."""
    scene = Scene(tmp_path)
    yield scene
    scene.databases.dispose()


def test_a_dispatch_in_a_transaction_is_pushed_when_that_commits(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        id = scene.dispatcher.dispatch(Letter("you"), queue="letters")
        assert (scene.line, scene.told) == ([], [])
        session.commit()

    assert [delivery.key for delivery in scene.line] == [id.encode()]
    assert [(event.connection, event.queue, event.id) for event in scene.told] == [("waits", "letters", id)]


def test_a_failover_waits_where_any_of_its_connections_does(scene: Scene) -> None:
    scene.queues.connection("failover")
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        scene.dispatcher.dispatch(Letter("you"), connection="failover")
        before = len(scene.list_of("at once").line)
        session.commit()

    assert (before, len(scene.list_of("at once").line)) == (0, 1)


def test_it_is_dropped_with_its_transaction(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        scene.dispatcher.dispatch(Letter("you"))
        session.rollback()

    assert scene.line == []


@pytest.mark.parametrize("dispatch", [{"connection": "at once"}, {}])
def test_without_a_transaction_or_the_option_it_is_pushed_at_once(scene: Scene, dispatch: dict[str, str]) -> None:
    with scene.databases.session() as session:
        if dispatch:
            session.execute(text("INSERT INTO orders VALUES (1)"))
        scene.dispatcher.dispatch(Letter("you"), **dispatch)

        assert len(scene.list_of(dispatch.get("connection", "waits")).line) == 1


def test_what_no_worker_could_read_is_refused_at_once(scene: Scene) -> None:
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        with pytest.raises(InvalidPayload):
            scene.dispatcher.dispatch(Letter(3))  # type: ignore[arg-type]


def test_many_wait_together_up_to_one_that_is_refused(scene: Scene) -> None:
    jobs: list[Any] = [("letter", {"to": "you"}, UNSET), ("letter", {"to": "me"}, UNSET), ("letter", {"to": 3}, UNSET)]
    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        assert scene.dispatcher.push_many(iter(jobs[:1])) == 1
        with pytest.raises(InvalidPayload, match=r"The 2 before it in push_many wait for the commit\."):
            scene.dispatcher.push_many(iter(jobs))
        assert scene.line == []
        session.commit()

    assert len(scene.line) == 3


def test_a_queue_that_is_away_is_said_by_the_commit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def push(*arguments: object, **named: object) -> None:
        raise Unavailable("away")

    with scene.databases.session() as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        scene.dispatcher.dispatch(Letter("you"))
        monkeypatch.setattr(scene.queues.connection("waits"), "push", push)
        with pytest.raises(Unavailable):
            session.commit()
        assert session.scalar(text("SELECT count(*) FROM orders")) == 1


@pytest.mark.parametrize(("end", "pushed"), [("commit", 1), ("raise", 0), ("", 0)])
def test_the_session_of_a_job_is_one_of_them(scene: Scene, end: str, pushed: int) -> None:
    runner = Runner(scene.app.make(Registry), scene.app, Policy(tries=1, backoff=(), timeout=0))
    queue = ListQueue()
    start = runner.start(queue.add("ordering", {"end": end}))
    runner.read(start)
    run: Callable[[], None] = lambda: runner.run(start)  # noqa: E731

    if end == "raise":
        with pytest.raises(RuntimeError):
            run()
    else:
        run()

    assert len(scene.line) == pushed


def test_kafka_has_the_option_too(scene: Scene) -> None:
    scene.queues.connection("kafka")

    assert "kafka" in scene.queues.after_commit
