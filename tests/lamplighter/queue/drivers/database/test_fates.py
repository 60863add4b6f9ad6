"""What became of a transaction whose answer was lost, as PostgreSQL tells it."""

import pytest

from lamplighter.database.manager import DatabaseManager
from lamplighter.queue.drivers.database.postgresql import PostgresqlRows
from tests.lamplighter.queue.drivers.database.conftest import POSTGRESQL

pytestmark = pytest.mark.parametrize("kind", POSTGRESQL)


def test_a_transaction_that_a_crashed_server_has_forgotten_was_not_committed(databases: DatabaseManager) -> None:
    rows = PostgresqlRows("jobs", seconds=90)
    with databases.engine().connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        (number,) = raw.cursor().execute("SELECT txid_current()").fetchone()

        assert rows.fate(raw, number + 1000) is False
        assert rows.fate(raw, number) is None
        raw.rollback()
        assert rows.fate(raw, number) is False
