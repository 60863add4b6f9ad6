"""A server that takes connections and says nothing, as one that is frozen does."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.database.store import DatabaseStore
from tests.databases import KINDS, empty_database

DRIVERS = {"pgsql": "psycopg", "mysql": "pymysql"}


@pytest.fixture(params=DRIVERS)
def frozen(request: pytest.FixtureRequest) -> Iterator[DatabaseManager]:
    """Connections to a server whose kernel answers, and nobody else."""
    pytest.importorskip(DRIVERS[request.param])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = {"driver": request.param, "port": listener.getsockname()[1], "username": "ann", "connect_timeout": 1}
        manager = DatabaseManager(Repository({"database": {"default": "test", "connections": {"test": options}}}), Path)
        yield manager
        manager.dispose()


def test_a_login_that_nobody_answers_ends(frozen: DatabaseManager) -> None:
    began = time.monotonic()

    with pytest.raises(DBAPIError) as caught:
        frozen.engine().connect()

    assert time.monotonic() - began < 8
    assert SqlAlchemyErrors().is_lost_connection(caught.value)


ASKED: dict[str, Callable[[DatabaseStore], object]] = {
    "push": lambda store: store.push("default", [Message(b"1")], 0),
    "take": lambda store: store.take(("default",), 1, ()),
    "sizes": lambda store: store.sizes("default"),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=list(ASKED))
def test_a_queue_is_away_whose_database_answers_no_login(
    frozen: DatabaseManager, ask: Callable[[DatabaseStore], object]
) -> None:
    store = DatabaseStore(frozen, "database", database=None, table="jobs", seconds=90)
    began = time.monotonic()

    with pytest.raises(Unavailable):
        ask(store)

    assert time.monotonic() - began < 8
    store.close()


@pytest.mark.parametrize("kind", KINDS[2:])
def test_a_statement_may_take_longer_than_a_login(kind: str, tmp_path: Path) -> None:
    databases = empty_database(kind, tmp_path)
    databases._config.set("database.connections.test.connect_timeout", 1)
    databases.dispose()

    with databases.engine().connect() as connection:
        slept = connection.scalar(text("SELECT SLEEP(1.5)"))

    databases.dispose()
    assert slept == 0
