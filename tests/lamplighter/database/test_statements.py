"""Single statements: each committed at once, on a connection that the main thread keeps."""

import threading
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lamplighter.database.manager import DatabaseManager

INSERT = text("INSERT INTO t VALUES (1)")
COUNT = text("SELECT count(*) FROM t")


def held(databases: DatabaseManager) -> int:
    """The connections that the pool has given away."""
    pool: Any = databases.engine().pool
    return int(pool.checkedout())


def test_a_statement_is_committed_when_it_has_run(databases: DatabaseManager) -> None:
    with databases.statements().connection() as connection:
        connection.execute(INSERT)

        with databases.engine().connect() as other:
            count = other.scalar(COUNT)

    assert count == 1


def test_the_main_thread_keeps_its_connection_and_another_gives_it_back(databases: DatabaseManager) -> None:
    statements = databases.statements()
    used: list[object] = []

    def use() -> None:
        with statements.connection() as connection:
            connection.execute(INSERT)
            used.append(connection)

    use()
    use()
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert used[0] is used[1] is not used[2]
    assert held(databases) == 1


def test_an_error_gives_the_connection_back_and_the_next_statement_has_another(databases: DatabaseManager) -> None:
    statements = databases.statements()

    with pytest.raises(DBAPIError), statements.connection() as connection:
        connection.execute(text("INSERT INTO nothing VALUES (1)"))
    left = held(databases)
    with statements.connection() as connection:
        connection.execute(INSERT)

    assert left == 0
    assert held(databases) == 1


def test_a_connection_of_an_engine_that_is_gone_is_not_used(databases: DatabaseManager) -> None:
    statements = databases.statements()
    with statements.connection() as first:
        first.execute(INSERT)

    databases.dispose()
    with statements.connection() as second:
        count = second.scalar(COUNT)

    assert (count, first.closed) == (1, True)
