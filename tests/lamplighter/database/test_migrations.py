"""Migrations on SQLite, and on PostgreSQL where there is one."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator
from lamplighter.database.migrations.baseline import adopt
from lamplighter.errors import MigrationError

ROOT = Path(__file__).parents[3]
OURS = ROOT / "database/migrations"

# As the original application's migrations made it: char(36), no primary key.
PHP_PROVIDER = """
CREATE TABLE provider (id CHAR(36) NOT NULL UNIQUE, name VARCHAR(255) NOT NULL, description TEXT,
published BOOLEAN NOT NULL, venue_id CHAR(36), contact_id CHAR(36), created TIMESTAMP NOT NULL,
updated TIMESTAMP NOT NULL, flagged BOOLEAN NOT NULL)
"""
# As Laravel writes the same for SQLite.
LARAVEL_PROVIDER = """
CREATE TABLE "provider" ("id" varchar not null, "name" varchar not null, "description" text,
"published" tinyint(1) not null default '0', "venue_id" varchar, "contact_id" varchar, "created" datetime not null,
"updated" datetime not null, "flagged" tinyint(1) not null default '0', primary key ("id"))
"""
PHP_ROW = """
INSERT INTO provider VALUES
('5bf1', 'Harbour', NULL, true, NULL, 'c1', '2019-01-01 10:00:00', '2019-01-02 10:00:00', false)
"""
LONG_NAME = f"{PHP_PROVIDER.replace('VARCHAR(255)', 'TEXT')}; {PHP_ROW.replace('Harbour', 'x' * 256)}"
# Laravel's own, on a database that had one.
PHP_FAILED_JOBS = """
CREATE TABLE failed_jobs (id {number} PRIMARY KEY, uuid VARCHAR(255) NOT NULL UNIQUE, connection TEXT NOT NULL,
queue TEXT NOT NULL, payload TEXT NOT NULL, exception TEXT NOT NULL, failed_at TIMESTAMP NOT NULL)
"""


def quiet(name: str, seconds: float) -> None:
    """Show nothing."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    options: dict[str, Any] = {"driver": "sqlite", "database": str(tmp_path / "test.sqlite")}
    if request.param == "postgresql":
        url = os.environ.get("POSTGRES_TEST_URL")
        if not url:
            if os.environ.get("CI_SERVICES"):
                pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
            pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")
        options = {"driver": "pgsql", "url": url}
    settings = Repository({"database": {"default": "test", "connections": {"test": options}}})
    manager = DatabaseManager(settings, lambda path: tmp_path / path)
    engine = manager.engine()
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield engine
    manager.dispose()


def test_what_waits_is_applied_once(engine: Engine) -> None:
    migrator = Migrator(engine, OURS)
    told: list[str] = []

    counts = [migrator.migrate(lambda name, _: told.append(name)), migrator.migrate(quiet)]

    assert counts == [3, 0]
    assert told == [
        "2026_11_24_000000_create_failed_jobs_table",
        "2026_11_24_000100_create_data_store_tables",
        "2026_11_25_000000_create_delayed_jobs_table",
    ]
    assert {"failed_jobs", "provider", "taxonomy_ref", "delayed_jobs"} <= set(inspect(engine).get_table_names())


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


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_all_that_laravel_makes_on_sqlite_is_adopted_without_a_warning(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(LARAVEL_PROVIDER))
        connection.execute(text(PHP_ROW))
        connection.execute(text("CREATE TABLE migrations (id INTEGER PRIMARY KEY, migration VARCHAR, batch INTEGER)"))

    tables = adopt(engine, OURS, quiet)

    with engine.connect() as connection:
        row = connection.execute(text("SELECT id, published, created FROM provider")).one()
    assert (tables, tuple(row)) == (["provider"], ("5bf1", 1, "2019-01-01 10:00:00"))
    assert inspect(engine).has_table("migrations")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("ALTER TABLE provider DROP COLUMN flagged", r"provider\.flagged is missing"),
        ("ALTER TABLE provider ADD COLUMN rating INTEGER", r"provider\.rating is not ours"),
        (f"DROP TABLE provider; {LONG_NAME}", r"provider\.name is longer than 255 in 1 rows"),
        (
            "ALTER TABLE provider DROP COLUMN created; ALTER TABLE provider ADD COLUMN created INTEGER",
            r"provider\.created is integer, not datetime",
        ),
    ],
)
def test_what_differs_is_named_and_nothing_is_changed(engine: Engine, change: str, why: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(PHP_PROVIDER))
        for statement in change.split("; "):
            connection.execute(text(statement))

    with pytest.raises(MigrationError, match=why):
        adopt(engine, OURS, quiet)

    assert inspect(engine).get_table_names() == ["provider"]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("time", ["0000-00-00 00:00:00", "never", ""])
def test_times_that_can_not_be_read_are_named(engine: Engine, time: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(LARAVEL_PROVIDER))
        connection.execute(text(PHP_ROW.replace("2019-01-02 10:00:00", time)))

    with pytest.raises(MigrationError, match=r"provider\.updated is no time in 1 rows"):
        adopt(engine, OURS, quiet)

    assert inspect(engine).get_table_names() == ["provider"]


def test_a_database_that_is_ours_is_not_adopted_again(engine: Engine) -> None:
    Migrator(engine, OURS).migrate(quiet)

    with pytest.raises(MigrationError, match="already"):
        adopt(engine, OURS, quiet)


def test_rows_that_share_a_key_are_named(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE taxonomy_ref (service_id CHAR(36) NOT NULL, taxonomy_id CHAR(36))"))
        connection.execute(text("INSERT INTO taxonomy_ref VALUES ('s1', 't1'), ('s1', 't1'), ('s2', NULL)"))

    with pytest.raises(MigrationError, match=r"taxonomy_id is empty in 1 rows; .* has 1 values of .* more than once"):
        adopt(engine, OURS, quiet)

    assert inspect(engine).get_table_names() == ["taxonomy_ref"]


def test_laravels_failed_jobs_are_adopted_and_numbered_on(engine: Engine) -> None:
    number = "BIGSERIAL" if engine.dialect.name == "postgresql" else "INTEGER"
    with engine.begin() as connection:
        connection.execute(text(PHP_FAILED_JOBS.format(number=number)))
        connection.execute(
            text("INSERT INTO failed_jobs VALUES (7, 'a', 'redis', 'default', '{}', 'boom', '2019-01-01 10:00:00')")
        )

    adopt(engine, OURS, quiet)

    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO failed_jobs (uuid, connection, queue, payload, exception) VALUES ('b', 'k', 'q', '', '')")
        )
        rows = connection.execute(text("SELECT id, uuid, origin FROM failed_jobs ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [(7, "a", None), (8, "b", None)]


def test_a_rollback_leaves_what_was_adopted(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(PHP_PROVIDER))
    migrator = Migrator(engine, OURS)
    adopt(engine, OURS, quiet)

    undone = migrator.rollback(quiet)

    assert undone == 0
    assert [status.batch for status in migrator.status()] == [0, 0, 0]
    assert "provider" in inspect(engine).get_table_names()


def test_two_at_once_apply_each_revision_once(engine: Engine) -> None:
    barrier = threading.Barrier(3)
    told: list[str] = []

    def migrate() -> None:
        barrier.wait(10)
        Migrator(engine, OURS).migrate(lambda name, _: told.append(name))

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(told) == len(set(told)) == 3


def test_a_rollback_that_would_undo_more_than_the_last_run_is_refused(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    first = migrator.make("create_letters_table")
    migrator.migrate(quiet)
    migrator.make("create_stamps_table")
    migrator.migrate(quiet)
    with engine.begin() as connection:
        connection.execute(text("UPDATE migration_batches SET batch = 3 - batch"))

    with pytest.raises(MigrationError, match="can't be undone by itself"):
        migrator.rollback(quiet)

    assert all(status.is_applied for status in migrator.status())
    assert first.exists()


def test_a_database_ahead_of_the_folder_is_named(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    path = migrator.make("create_letters_table")
    migrator.migrate(quiet)
    path.unlink()

    with pytest.raises(MigrationError, match="do not fit together"):
        migrator.status()


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("create_letters_table", {}, 'op.create_table("letters", '),
        ("CreateLetters", {"create": "letters"}, 'op.create_table("letters", '),
        ("add_colour_to_letters_table", {}, 'with op.batch_alter_table("letters") as table:'),
        ("colours", {"table": "letters"}, 'with op.batch_alter_table("letters") as table:'),
        ("something else", {}, "    pass"),
    ],
)
def test_the_name_or_an_option_tells_the_table(
    engine: Engine, tmp_path: Path, name: str, options: dict[str, str], line: str
) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")

    path = migrator.make(name, **options)

    assert line in path.read_text()


def test_migrations_of_one_second_stand_in_a_row_and_run_both_ways(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    names = ["create_letters_table", "add_colour_to_letters_table", "create_stamps_table"]

    made = [migrator.make(name).stem for name in names]

    assert (migrator.pending(), len(set(made))) == (made, 3)
    assert (migrator.migrate(quiet), migrator.rollback(quiet), migrator.migrate(quiet)) == (3, 3, 3)


def test_a_migration_behind_two_newest_joins_them(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    migrator.make("create_letters_table")
    path = migrator.make("create_stamps_table")
    lines = path.read_text().splitlines()
    path.write_text("\n".join("down_revision = None" if line.startswith("down_") else line for line in lines))

    migrator.make("create_seals_table")

    assert (migrator.migrate(quiet), migrator.rollback(quiet)) == (3, 3)


def test_a_name_without_letters_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="can't be named"):
        Migrator(engine, tmp_path / "migrations").make("--")
