"""A database on SQLite with a table."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[DatabaseManager]:
    """A database whose table `t` has one column."""
    settings = {"default": "test", "connections": {"test": {"driver": "sqlite", "database": "test.sqlite"}}}
    manager = DatabaseManager(Repository({"database": settings}), lambda path: tmp_path / path)
    with manager.engine().begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    yield manager
    manager.dispose()
