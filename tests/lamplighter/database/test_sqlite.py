"""How transactions begin on SQLite."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from lamplighter.database.manager import DatabaseManager
from lamplighter.database.sqlite import READ_ONLY

AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}


@pytest.fixture
def engine(databases: DatabaseManager) -> Engine:
    """The engine of a database with a table."""
    return databases.engine()


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
