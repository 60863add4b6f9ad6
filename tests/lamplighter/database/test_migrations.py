"""Migrations on SQLite, and on PostgreSQL where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from lamplighter.database.baseline import adopt
from lamplighter.database.migrations import Migrator
from lamplighter.errors import MigrationError

ROOT = Path(__file__).parents[3]
OURS = ROOT / "database/migrations"

# As the original application's migrations made it: char(36), no primary key.
PHP_PROVIDER = """
CREATE TABLE provider (id CHAR(36) NOT NULL UNIQUE, name VARCHAR(255) NOT NULL, description TEXT,
published BOOLEAN NOT NULL, venue_id CHAR(36), contact_id CHAR(36), created TIMESTAMP NOT NULL,
updated TIMESTAMP NOT NULL, flagged BOOLEAN NOT NULL)
"""
PHP_ROW = """
INSERT INTO provider VALUES
('5bf1', 'Harbour', NULL, true, NULL, 'c1', '2019-01-01 10:00:00', '2019-01-02 10:00:00', false)
"""


def quiet(name: str, seconds: float) -> None:
    """Show nothing."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path}/test.sqlite")
    else:
        url = os.environ.get("POSTGRES_TEST_URL")
        if not url:
            if os.environ.get("CI_SERVICES"):
                pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
            pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield engine
    engine.dispose()


def test_what_waits_is_applied_once(engine: Engine) -> None:
    migrator = Migrator(engine, OURS)
    told: list[str] = []

    counts = [migrator.migrate(lambda name, _: told.append(name)), migrator.migrate(quiet)]

    assert counts == [2, 0]
    assert told == ["2026_11_24_000000_create_failed_jobs_table", "2026_11_24_000100_create_data_store_tables"]
    assert {"failed_jobs", "provider", "taxonomy_ref"} <= set(inspect(engine).get_table_names())


def test_a_rollback_undoes_what_the_last_run_did(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in sorted(OURS.glob("*.py"))[:1]:
        (folder / path.name).write_text(path.read_text())
    migrator = Migrator(engine, folder)
    migrator.migrate(quiet)
    migrator.make("create_letters_table")
    migrator.migrate(quiet)
    before = [status.batch for status in migrator.status()]

    undone = migrator.rollback(quiet)

    assert (before, undone) == ([1, 2], 1)
    assert [status.is_applied for status in migrator.status()] == [True, False]
    assert "letters" not in inspect(engine).get_table_names()


def test_a_migration_that_breaks_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    path = migrator.make("create_letters_table")
    path.write_text(path.read_text().replace("def downgrade", "    raise RuntimeError('boom')\n\n\ndef downgrade"))

    with pytest.raises(RuntimeError, match="boom"):
        migrator.migrate(quiet)

    if engine.dialect.name == "postgresql":
        assert "letters" not in inspect(engine).get_table_names()
    assert migrator.pending() == [path.stem]


def test_a_database_of_the_php_application_is_adopted_with_its_rows(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(PHP_PROVIDER))
        connection.execute(text(PHP_ROW))

    tables = adopt(engine, OURS, quiet)

    found = inspect(engine)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT id, name, contact_id FROM provider")).one()
    assert (tables, tuple(row)) == (["provider"], ("5bf1", "Harbour", "c1"))
    assert found.get_pk_constraint("provider")["constrained_columns"] == ["id"]
    assert {"service", "failed_jobs"} <= set(found.get_table_names())
    assert Migrator(engine, OURS).pending() == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("ALTER TABLE provider DROP COLUMN flagged", r"provider\.flagged is missing"),
        ("ALTER TABLE provider ADD COLUMN rating INTEGER", r"provider\.rating is not ours"),
    ],
)
def test_what_differs_is_named_and_nothing_is_changed(engine: Engine, change: str, why: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(PHP_PROVIDER))
        connection.execute(text(change))

    with pytest.raises(MigrationError, match=why):
        adopt(engine, OURS, quiet)

    assert inspect(engine).get_table_names() == ["provider"]


def test_a_database_that_is_ours_is_not_adopted_again(engine: Engine) -> None:
    Migrator(engine, OURS).migrate(quiet)

    with pytest.raises(MigrationError, match="already"):
        adopt(engine, OURS, quiet)
