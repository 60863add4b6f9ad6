"""A project whose queue is a table, on each database, with workers that are processes."""

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, make_url, text

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.store import DatabaseStore
from tests.harness import PROBE_JOBS, Project
from tests.lamplighter.queue.drivers.database.conftest import url_of

JOBS = (
    PROBE_JOBS
    + '''

@dataclass(frozen=True)
class Store(Job):
    """The job of Laravel's golden rows; fails while there is no file `works`."""

    name = "job.data.store"

    n: int

    def handle(self, delivery: Delivery) -> None:
        note("stored", n=self.n, attempts=delivery.attempts)
        if not Path("works").exists():
            raise RuntimeError("boom")
'''
)


@contextmanager
def closing_engine(url: str) -> Iterator[Connection]:
    """A connection to PostgreSQL that nothing is left of."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class Scene:
    """A project whose queue is a table, and what the test knows of it."""

    def __init__(self, folder: Path, kind: str, *, retry_after: int = 2) -> None:
        folder.mkdir()
        environment = {"QUEUE_CONNECTION": "database", "DB_QUEUE_RETRY_AFTER": str(retry_after)}
        if kind == "sqlite":
            options = {"driver": "sqlite", "database": str(folder / "database/database.sqlite")}
        else:
            driver = {"postgresql": "pgsql"}.get(kind, kind)
            url = url_of(kind)
            if kind == "postgresql":
                self.schema = f"queue_{uuid.uuid4().hex[:8]}"
                with closing_engine(url) as connection:
                    connection.execute(text(f"CREATE SCHEMA {self.schema}"))
                url = f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{self.schema}"
            options = {"driver": driver, "url": url}
            environment |= {"DB_CONNECTION": driver, "DB_URL": url}
        self.kind = kind
        self.project = Project(folder, environment=environment, jobs=JOBS)
        settings = {"database": {"default": "main", "connections": {"main": options}}}
        self.databases = DatabaseManager(Repository(settings), Path)
        if kind == "mysql":
            self._drop_all()
        self.project.artisan("migrate", "--force")
        self.store = DatabaseStore(self.databases, "database", database=None, table="jobs", seconds=retry_after)
        self._workers: list[subprocess.Popen[str]] = []

    def push(self, *data: dict[str, Any], queue: str = "default", **envelope: Any) -> None:
        """Push probes."""
        body = {"displayName": "probe", "job": "probe", "maxTries": None, "timeout": None, **envelope}
        self.store.push(queue, [Message(json.dumps({**body, "data": each}).encode()) for each in data], 0)

    def worker(self, *options: str) -> subprocess.Popen[str]:
        """Start a worker."""
        return self.project.worker(*options, connection="database")

    def rows(self, query: str = "SELECT * FROM jobs ORDER BY id") -> list[dict[str, Any]]:
        """What a query finds."""
        with self.databases.engine().connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def until(self, is_so: Callable[[], object], *, seconds: float = 60) -> None:
        """Wait until something is so."""
        until = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < until, self.project.log()[-5000:]
            time.sleep(0.02)

    def begun(self, process: subprocess.Popen[str] | None = None) -> int:
        """How many jobs have begun, in a worker or in all; where the ledger is long, `events` takes a second."""
        ledger = self.project.ledger
        pid = "" if process is None else f'"pid": {process.pid},'
        return ledger.read_text().count(f'"event": "start", {pid}') if ledger.exists() else 0

    def close(self) -> None:
        """Leave nothing."""
        self.project.close()
        self.store.close()
        if self.kind == "postgresql":
            with self.databases.engine().begin() as connection:
                connection.execute(text(f"DROP SCHEMA {self.schema} CASCADE"))
        if self.kind == "mysql":
            self._drop_all()
        self.databases.dispose()

    def _drop_all(self) -> None:
        with self.databases.engine().begin() as connection:
            there = MetaData()
            there.reflect(connection)
            there.drop_all(connection)
