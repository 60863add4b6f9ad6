"""Applying and undoing migrations, on SQLite, and on PostgreSQL where there is one."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from lamplighter.database.migrations import Migrator
from lamplighter.errors import MigrationError
from tests.lamplighter.database.migrations.folder import Folder

OURS = Path(__file__).parents[4] / "database/migrations"


def quiet(name: str, seconds: float) -> None:
    """Show nothing."""


def test_what_waits_is_applied_once(engine: Engine) -> None:
    migrator = Migrator(engine, OURS)
    told: list[str] = []

    counts = [migrator.migrate(lambda name, _: told.append(name)), migrator.migrate(quiet)]

    assert counts == [4, 0]
    assert told == [
        "2026_11_24_000000_create_failed_jobs_table",
        "2026_11_24_000100_create_data_store_tables",
        "2026_11_25_000000_create_delayed_jobs_table",
        "2026_11_30_000000_create_jobs_table",
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

    with pytest.raises(MigrationError, match=rf"{path.name} has failed in line 14: RuntimeError: boom") as caught:
        migrator.migrate(quiet)

    assert "letters" not in inspect(engine).get_table_names()
    assert migrator.pending() == [path.stem]
    assert isinstance(caught.value.__cause__, RuntimeError)


def migrate_at_once(engine: Engine) -> list[str]:
    """Three runs at the same time; what they applied."""
    barrier = threading.Barrier(3)
    told: list[str] = []

    def migrate() -> None:
        barrier.wait(10)
        Migrator(engine, OURS).migrate(lambda name, _: told.append(name))

    threads = [threading.Thread(target=migrate, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return told


def test_two_at_once_apply_each_revision_once(engine: Engine) -> None:
    told = migrate_at_once(engine)

    assert len(told) == len(set(told)) == 4


@pytest.mark.mysql
def test_ours_are_applied_and_undone_on_mysql(mysql: Folder) -> None:
    told = migrate_at_once(mysql.engine)

    assert len(told) == len(set(told)) == 4
    assert Migrator(mysql.engine, OURS).rollback(quiet) == 4
    assert set(inspect(mysql.engine).get_table_names()) == {"alembic_version", "migration_batches"}


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


@pytest.fixture
def latin(mysql: Folder) -> Iterator[Folder]:
    """A database on MySQL whose own character set has few letters, as that of a server set up without one."""
    with mysql.engine.begin() as connection:
        before = connection.execute(text("SELECT @@character_set_database, @@collation_database")).one()
        connection.execute(text("ALTER DATABASE CHARACTER SET latin1"))
    mysql.engine.dispose()
    yield mysql
    with mysql.engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE CHARACTER SET {before[0]} COLLATE {before[1]}"))


@pytest.mark.mysql
def test_tables_keep_any_text_whatever_the_character_set_of_their_database(latin: Folder) -> None:
    latin.write("1_letters", 'op.create_table("letters", sa.Column("text", sa.Text()))')
    latin.write("2_stamps", 'op.create_table("stamps", sa.Column("text", sa.Text()), mysql_charset="latin1")')
    latin.migrate()

    with latin.engine.begin() as connection:
        connection.execute(text("INSERT INTO letters VALUES ('\U0001f600 \u202e\u00e9')"))
        kept = connection.scalar(text("SELECT text FROM letters"))
        rows = connection.execute(
            text(
                "SELECT table_name, table_collation FROM information_schema.tables "
                "WHERE table_schema = database() AND table_name IN ('letters', 'stamps')"
            )
        )
        collations = {row[0]: row[1] for row in rows}

    assert kept == "\U0001f600 \u202e\u00e9"
    assert collations["letters"] == "utf8mb4_unicode_ci"
    assert collations["stamps"].startswith("latin1")
