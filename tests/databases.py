"""Empty databases of each kind that tests use: an SQLite file, or a server that is there."""

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, text

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mysql", marks=pytest.mark.mysql),
]
SERVERS = {"postgresql": ("POSTGRES_TEST_URL", "pgsql"), "mysql": ("MYSQL_TEST_URL", "mysql")}


def empty_database(kind: str, folder: Path) -> DatabaseManager:
    """The only connection of an application, without any table."""
    manager = DatabaseManager(
        Repository({"database": {"default": "test", "connections": {"test": _options(kind, folder)}}}),
        lambda path: folder / path,
    )
    _empty(manager.engine())
    return manager


def _options(kind: str, folder: Path) -> dict[str, Any]:
    if kind == "sqlite":
        return {"driver": "sqlite", "database": str(folder / "test.sqlite")}
    variable, driver = SERVERS[kind]
    url = os.environ.get(variable)
    if url:
        return {"driver": driver, "url": url}
    if os.environ.get("CI_SERVICES"):
        pytest.fail(f"CI promised a database, and {variable} is not set")
    pytest.skip(f"no database: set {variable}")


def _empty(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
            return
        there = MetaData()
        there.reflect(connection)
        there.drop_all(connection)
