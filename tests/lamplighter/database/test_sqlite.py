"""How transactions begin on SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.sqlite import READ_ONLY

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with a table, whose writers don't wait for each other."""
    settings = {"default": "test", "connections": {"test": {"driver": "sqlite", "database": "test.sqlite"}}}
    manager = DatabaseManager(Repository({"database": settings}), lambda path: tmp_path / path)
    with manager.engine().begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    yield manager.engine()
    manager.dispose()


def test_a_writer_that_meets_another_has_an_error_of_sqlalchemy(engine: Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            connection.connection.execute("PRAGMA busy_timeout = 0")
        first.execute(text("SELECT * FROM t"))

        with pytest.raises(OperationalError, match="database is locked"):
            second.execute(text("SELECT * FROM t"))


def test_a_statement_without_a_transaction_is_there_for_others_at_once(engine: Engine) -> None:
    with (
        engine.connect().execution_options(**AUTOCOMMIT) as writer,
        engine.connect().execution_options(**READ_ONLY) as reader,
    ):
        writer.execute(text("INSERT INTO t VALUES (1)"))

        assert reader.scalar(text("SELECT count(*) FROM t")) == 1


@pytest.mark.parametrize("options", [AUTOCOMMIT, READ_ONLY])
def test_the_pool_s_next_user_begins_as_a_writer_again(engine: Engine, options: dict[str, str]) -> None:
    with engine.connect().execution_options(**options) as connection:
        connection.execute(text("SELECT * FROM t"))

    with engine.connect() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        is_open = connection.connection.in_transaction
        connection.rollback()
        count = connection.scalar(text("SELECT count(*) FROM t"))
        level = connection.get_isolation_level()

    assert (is_open, count, level) == (True, 0, "SERIALIZABLE")


def test_a_level_that_sqlite_has_not_is_told(engine: Engine) -> None:
    with pytest.raises(Exception, match="SERIALIZABLE, AUTOCOMMIT"):
        engine.connect().execution_options(isolation_level="READ COMMITTED")
