"""A table of jobs of the test's own, on SQLite and on the servers that are there."""

import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, make_url, text

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database import migration
from lamplighter.queue.drivers.database.store import DatabaseStore

POSTGRESQL = [pytest.param("postgresql", marks=pytest.mark.postgresql)]
MYSQL = [pytest.param("mysql", marks=pytest.mark.mysql)]
SERVERS = [*POSTGRESQL, *MYSQL]
KINDS = ["sqlite", *SERVERS]

MakeStore = Callable[..., DatabaseStore]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The database."""
    return str(request.param)


@pytest.fixture
def options(kind: str, tmp_path: Path) -> dict[str, Any]:
    """A connection of config/database.py."""
    if kind == "sqlite":
        return {"driver": "sqlite", "database": str(tmp_path / "queue.sqlite")}
    return {"driver": {"postgresql": "pgsql"}.get(kind, kind), "url": url_of(kind)}


def url_of(kind: str) -> str:
    """The server of the tests."""
    variable = {"postgresql": "POSTGRES_TEST_URL", "mysql": "MYSQL_TEST_URL"}[kind]
    url = os.environ.get(variable)
    if url:
        return url
    if os.environ.get("CI_SERVICES"):
        pytest.fail(f"CI promised a database, and {variable} is not set")
    pytest.skip(f"no database: set {variable}")


@pytest.fixture
def make_databases(options: dict[str, Any]) -> Iterator[Callable[..., DatabaseManager]]:
    """Makes a manager of connections, as another process would have one; keywords change its options."""
    made: list[DatabaseManager] = []

    def make(**changed: Any) -> DatabaseManager:
        settings = {"database": {"default": "main", "connections": {"main": {**options, **changed}}}}
        made.append(DatabaseManager(Repository(settings), lambda path: Path(path)))
        return made[-1]

    yield make
    for manager in made:
        manager.dispose()


@pytest.fixture
def databases(make_databases: Callable[..., DatabaseManager]) -> DatabaseManager:
    """The connections of the test itself."""
    return make_databases()


@pytest.fixture
def table(databases: DatabaseManager) -> Iterator[str]:
    """An empty table, as our migration makes it."""
    name = f"jobs_{uuid.uuid4().hex[:8]}"
    with databases.engine().begin() as connection:
        migrate(connection, name)
    yield name
    with databases.engine().begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {name}"))


@pytest.fixture
def make_store(make_databases: Callable[..., DatabaseManager], table: str) -> Iterator[MakeStore]:
    """Makes the store of one more worker."""
    made: list[DatabaseStore] = []

    def make(*, seconds: float = 90.0, **changed: Any) -> DatabaseStore:
        made.append(DatabaseStore(make_databases(**changed), "database", database=None, table=table, seconds=seconds))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> DatabaseStore:
    """The store of one worker."""
    return make_store()


@pytest.fixture
def rows(databases: DatabaseManager, table: str) -> Callable[[], list[dict[str, Any]]]:
    """What stands in the table, by id."""

    def rows() -> list[dict[str, Any]]:
        with databases.engine().connect() as connection:
            return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY id")).mappings()]

    return rows


def load(name: str) -> ModuleType:
    """The migration of a table."""
    module = ModuleType(name)
    exec(migration.text(name), module.__dict__)
    return module


def migrate(connection: Connection, name: str, function: str = "upgrade") -> None:
    """Run the migration of a table, without a note that it has run."""
    with Operations.context(MigrationContext.configure(connection)):
        getattr(load(name), function)()


class Proxy(threading.Thread):
    """A line to a server which breaks at a word of the client's.

    Attributes:
        word: what the client must say for the line to break, once; empty for never.
        is_heard: whether the server still hears it, and only its answer is lost.
        is_silent: whether the server hears nothing any more, and neither side is told that the line is broken.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.word = b""
        self.is_heard = True
        self.is_silent = False
        self._ending = threading.Event()
        parsed = make_url(url)
        self._target = parsed.host, parsed.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = parsed.set(host="127.0.0.1", port=self._listener.getsockname()[1]).render_as_string(
            hide_password=False
        )
        self.start()

    def run(self) -> None:
        """Until `end`."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                threading.Thread(target=self._ask, args=(near, far), daemon=True).start()

    def end(self) -> None:
        """Take no more connections."""
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(5)

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        answering = threading.Thread(target=self._answer, args=(near, far), daemon=True)
        answering.start()
        with suppress(OSError):
            while data := near.recv(65_536):
                if self.word and self.word in data:
                    self.word = b""
                    if self.is_silent:
                        self._ending.wait()
                        break
                    near.shutdown(socket.SHUT_RDWR)  # so that no answer comes through
                    if self.is_heard:
                        far.sendall(data)
                        far.shutdown(socket.SHUT_WR)  # the server does what it was asked before it sees the end
                    break
                far.sendall(data)
        if not self.is_heard or self.is_silent:
            with suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)
        answering.join(5)
        near.close()
        far.close()

    def _answer(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65_536):
                near.sendall(data)
        with suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(kind: str) -> Iterator[Proxy]:
    """A line to the server of the test."""
    proxy = Proxy(url_of(kind))
    yield proxy
    proxy.end()


def end_others(databases: DatabaseManager, kind: str) -> None:
    """End all connections of this user but one."""
    with databases.engine().connect() as connection:
        if kind == "postgresql":
            others = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
            )
            connection.execute(text(f"{others}current_database()"))
            return
        mine = connection.execute(text("SELECT CONNECTION_ID()")).scalar()
        for row in connection.execute(text("SHOW PROCESSLIST")).all():
            if row[0] != mine:
                connection.execute(text(f"KILL {row[0]}"))


def as_root(statement: str) -> None:
    """Run a statement as the user who may set what holds for all."""
    options = os.environ.get("MYSQL_TEST_OPTIONS")
    if not options:
        pytest.skip("set MYSQL_TEST_OPTIONS")
    subprocess.run(
        [
            "mariadb",
            "--no-defaults",
            "--user=root",
            f"--socket={Path(options).with_suffix('')}/socket",
            "-e",
            statement,
        ],
        check=True,
    )


def fill_attempts(databases: DatabaseManager, table: str, kind: str) -> int:
    """Let all jobs have as many attempts as the column takes; how many that is."""
    most = 32_767
    with databases.engine().begin() as connection:
        if kind == "mysql":  # as Laravel made it for long
            most = 255
            connection.execute(text(f"ALTER TABLE {table} MODIFY attempts TINYINT UNSIGNED NOT NULL"))
        connection.execute(text(f"UPDATE {table} SET attempts = {most}"))
    return most
