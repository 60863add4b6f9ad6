"""The framework's own tables, where there is no database."""

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, select

from lamplighter.database.rows import Rows
from lamplighter.errors import Unavailable

THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True))


class Away:
    """A database behind a port that nobody listens at."""

    def engine(self, name: str | None = None) -> Engine:
        """Its engine."""
        return create_engine("postgresql+psycopg://lamp:secret@127.0.0.1:1/none")


def test_a_database_that_is_away_is_told_with_its_place_and_without_its_password() -> None:
    rows = Rows(Away(), None, THINGS, kept="things")

    with pytest.raises(Unavailable, match=r"keeps the things does not answer: .*127\.0\.0\.1.*port 1 ") as told:
        rows.read(select(THINGS))

    assert "secret" not in str(told.value)
