"""Empty databases: on SQLite, and on the servers that are there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, text

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from tests.lamplighter.database.migrations.folder import Folder

Open = Callable[[str], Engine]

DRIVERS = {"postgresql": "pgsql", "mysql": "mysql"}


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[Open]:
    """Opens an empty database of a kind: sqlite, memory, postgresql or mysql."""
    managers = []

    def open_database(kind: str) -> Engine:
        options: dict[str, Any] = {"driver": "sqlite", "database": str(tmp_path / "test.sqlite")}
        if kind == "memory":
            options["database"] = ":memory:"
        elif kind != "sqlite":
            options = {"driver": DRIVERS[kind], "url": _url(kind)}
        settings = Repository({"database": {"default": "test", "connections": {"test": options}}})
        managers.append(DatabaseManager(settings, lambda path: tmp_path / path))
        engine = managers[-1].engine()
        _empty(engine)
        return engine

    yield open_database
    for manager in managers:
        manager.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine(request: pytest.FixtureRequest, open_database: Open) -> Engine:
    """An empty database, on which a run of migrations is one transaction."""
    return open_database(request.param)


@pytest.fixture
def folder(tmp_path: Path, engine: Engine) -> Folder:
    """An empty folder of migrations for it."""
    return Folder(tmp_path / "migrations", engine)


@pytest.fixture
def sqlite(tmp_path: Path, open_database: Open) -> Folder:
    """An empty folder of migrations, and an empty database on SQLite."""
    return Folder(tmp_path / "migrations", open_database("sqlite"))


@pytest.fixture
def postgresql(tmp_path: Path, open_database: Open) -> Folder:
    """An empty folder of migrations, and an empty database on PostgreSQL."""
    return Folder(tmp_path / "migrations", open_database("postgresql"))


@pytest.fixture
def mysql(tmp_path: Path, open_database: Open) -> Folder:
    """An empty folder of migrations, and an empty database on MySQL or MariaDB."""
    return Folder(tmp_path / "migrations", open_database("mysql"))


def _url(kind: str) -> str:
    variable = {"postgresql": "POSTGRES_TEST_URL", "mysql": "MYSQL_TEST_URL"}[kind]
    url = os.environ.get(variable)
    if url:
        return url
    if os.environ.get("CI_SERVICES"):
        pytest.fail(f"CI promised a database, and {variable} is not set")
    pytest.skip(f"no database: set {variable}")


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
            return
        there = MetaData()
        there.reflect(connection)
        there.drop_all(connection)
