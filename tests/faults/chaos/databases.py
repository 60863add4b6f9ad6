"""The database of a round: an SQLite file, or one of PostgreSQL's behind a proxy; either may be locked."""

import random
import sqlite3
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.faults.proxy import Proxy
from tests.harness import free_ports

TABLES = ("failed_jobs", "delayed_jobs", "chaos_rows")
MAKE = "CREATE TABLE chaos_rows (n INTEGER PRIMARY KEY)"


class Database(Protocol):
    """What rounds do with their database, whichever it is.

    Attributes:
        environment: what the application is told of it.
    """

    environment: dict[str, str]

    def prepare(self) -> None:
        """Make the table of the round's own jobs."""
        ...

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query finds."""
        ...

    def lock(self, seconds: float) -> None:
        """Keep others from reading and writing for so long."""
        ...

    def go_away(self, seconds: float) -> None:
        """Take no connection for so long, and break those that are there."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Sqlite:
    """A file in the round's folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "database.sqlite"
        self.environment = {"DB_CONNECTION": "sqlite", "DB_DATABASE": str(self._file)}

    def prepare(self) -> None:
        """Make the table of the round's own jobs."""
        self.rows(MAKE)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query finds."""
        with self._connected() as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query).fetchall()]

    def lock(self, seconds: float) -> None:
        """A transaction that nobody can read or write beside."""
        with self._connected() as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    def go_away(self, seconds: float) -> None:
        """A file has no server that could: nobody else can reach what is in it."""
        self.lock(seconds)

    def close(self) -> None:
        """It goes with its folder."""

    def _connected(self) -> "_Closing":
        return _Closing(sqlite3.connect(self._file, timeout=60, isolation_level=None))


class _Closing:
    """A connection that its `with` closes, which sqlite3's own does not."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class Postgres:
    """A database of a server's, made for the round."""

    def __init__(self, url: str, seed: int) -> None:
        """Takes the server's address, as superuser."""
        self._url = url
        self._name = f"chaos_{seed}_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self._name}")
            port, user = connection.info.port, connection.info.user
        self._chance = random.Random(seed)
        self._proxy = Proxy(free_ports(1), port, self._chance)
        self._proxy.start()
        address = f"postgresql://{user}@127.0.0.1:{self._proxy.port}/{self._name}"
        self.environment = {"DB_CONNECTION": "pgsql", "DB_URL": address}
        self._own = f"postgresql://{user}@127.0.0.1:{port}/{self._name}"

    def prepare(self) -> None:
        """Make the table of the round's own jobs."""
        with psycopg.connect(self._own, autocommit=True) as connection:
            connection.execute(MAKE)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query finds."""
        with psycopg.connect(self._own, autocommit=True) as connection:
            found = connection.execute(query)
            names: Sequence[str] = [column.name for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def lock(self, seconds: float) -> None:
        """A transaction that has all tables to itself."""
        with psycopg.connect(self._own) as connection:
            connection.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
            time.sleep(seconds)
            connection.rollback()

    def go_away(self, seconds: float) -> None:
        """Its line is cut."""
        port, target = self._proxy.port, self._proxy.target
        self._proxy.end()
        time.sleep(seconds)
        self._proxy = Proxy(port, target, self._chance)
        self._proxy.start()

    def close(self) -> None:
        """Drop it."""
        self._proxy.end()
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
