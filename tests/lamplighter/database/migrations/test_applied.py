"""Which migrations count as applied, whatever has become of the files since."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from lamplighter.errors import MigrationError
from tests.lamplighter.database.migrations.folder import Folder

OURS = Path(__file__).parents[4] / "database/migrations"
FAILED_JOBS = "2026_11_24_000000_create_failed_jobs_table"
DATA_STORE = "2026_11_24_000100_create_data_store_tables"
DELAYED_JOBS = "2026_11_25_000000_create_delayed_jobs_table"

# Of another table each, so that more than one can be applied.
MAKE = 'op.create_table({table!r}, sa.Column("id", sa.Integer, primary_key=True))'


def bring(folder: Folder, *names: str) -> None:
    """Copy files of ours into a folder."""
    for name in names:
        (folder.path / f"{name}.py").write_text((OURS / f"{name}.py").read_text())


def make(folder: Folder, revision: str, table: str, behind: str | None = None) -> Path:
    """A migration that makes a table."""
    return folder.write(revision, MAKE.format(table=table), downgrade=f"op.drop_table({table!r})", behind=behind)


def heads(engine: Engine) -> set[str]:
    """What alembic's own table holds."""
    with engine.connect() as connection:
        return set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def test_one_of_the_frameworks_that_comes_later_is_applied_however_old_its_name_is(folder: Folder) -> None:
    make(folder, "2027_01_01_000000", "letters")
    folder.migrate()
    bring(folder, FAILED_JOBS)

    folder.migrate()

    assert folder.told == ["2027_01_01_000000", FAILED_JOBS]
    assert heads(folder.engine) == {"2027_01_01_000000", "2026_11_24_000000"}


def test_one_of_the_applications_that_is_older_than_the_frameworks_is_applied(folder: Folder) -> None:
    bring(folder, FAILED_JOBS, DELAYED_JOBS)
    folder.migrate()
    make(folder, "2019_01_01_000000", "letters")

    assert (folder.migrate(), folder.rollback()) == (1, 1)
    assert folder.applied() == [FAILED_JOBS, DELAYED_JOBS]


def test_one_that_comes_with_an_upgrade_is_applied_behind_younger_ones_of_the_application(folder: Folder) -> None:
    bring(folder, FAILED_JOBS)
    make(folder, "2027_01_01_000000", "letters")
    folder.migrate()
    make(folder, "lamplighter_2026_12_01", "news", behind="2026_11_24_000000")

    assert (folder.migrate(), folder.told[-1]) == (1, "lamplighter_2026_12_01")
    assert heads(folder.engine) == {"2027_01_01_000000", "lamplighter_2026_12_01"}


def test_the_frameworks_may_be_removed_and_come_back(folder: Folder) -> None:
    bring(folder, FAILED_JOBS, DELAYED_JOBS)
    make(folder, "2027_01_01_000000", "letters", behind="2026_11_25_000000")  # as it was made once
    folder.migrate()
    for name in (FAILED_JOBS, DELAYED_JOBS):
        (folder.path / f"{name}.py").unlink()
    make(folder, "2027_01_02_000000", "stamps", behind="2027_01_01_000000")

    assert (folder.applied(), folder.migrate()) == (["2027_01_01_000000"], 1)
    assert (folder.rollback(), folder.rollback(), folder.rollback()) == (1, 1, 0)

    bring(folder, FAILED_JOBS, DELAYED_JOBS)
    assert folder.applied() == [FAILED_JOBS, DELAYED_JOBS]
    assert (folder.migrate(), folder.rollback()) == (2, 2)
    assert inspect(folder.engine).has_table("failed_jobs")


@pytest.mark.parametrize("application", [None, "2026_11_30_000000"])
def test_a_database_from_when_all_stood_in_one_row_needs_nothing(folder: Folder, application: str | None) -> None:
    bring(folder, FAILED_JOBS, DATA_STORE, DELAYED_JOBS)
    if application:
        make(folder, application, "letters", behind="2026_11_25_000000")
    count = folder.migrate()
    with folder.engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        head = application or "2026_11_25_000000"
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})

    assert (folder.migrate(), len(folder.applied())) == (0, count)
    make(folder, "2027_01_01_000000", "stamps")
    assert (folder.migrate(), folder.rollback(), folder.rollback()) == (1, 1, count)
    assert heads(folder.engine) == set()


def test_a_parent_that_comes_later_is_applied(folder: Folder) -> None:
    path = make(folder, "2", "letters")
    folder.migrate()
    path.write_text(path.read_text().replace("down_revision = None", "down_revision = '1'"))
    make(folder, "1", "stamps")

    folder.migrate()

    assert (folder.told, heads(folder.engine)) == (["2", "1"], {"2"})


def test_what_alembics_own_commands_applied_counts(folder: Folder) -> None:
    make(folder, "1", "letters")
    make(folder, "2", "stamps", behind="1")
    with folder.engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('2')"))

    assert (folder.applied(), folder.migrate(), folder.rollback()) == (["1", "2"], 0, 0)
    assert [status.batch for status in folder.migrator.status()] == [None, None]


def test_old_files_may_be_put_together_in_one(folder: Folder) -> None:
    make(folder, "1", "letters")
    make(folder, "2", "stamps", behind="1")
    folder.migrate()
    (folder.path / "1.py").unlink()
    make(folder, "2", "stamps")

    assert (folder.applied(), folder.migrate()) == (["2"], 0)


def test_one_of_the_last_run_without_a_file_is_named(folder: Folder) -> None:
    make(folder, "1", "letters")
    make(folder, "2", "stamps", behind="1")
    folder.migrate()
    (folder.path / "1.py").unlink()
    make(folder, "2", "stamps")

    with pytest.raises(MigrationError, match="no file has the revision 1 of it"):
        folder.rollback()

    assert inspect(folder.engine).has_table("stamps")


def test_a_database_ahead_of_the_folder_is_left_alone(folder: Folder) -> None:
    make(folder, "1", "letters")
    make(folder, "2", "stamps", behind="1").unlink()
    make(folder, "3", "seals", behind="1")
    folder.migrate()
    (folder.path / "3.py").unlink()
    make(folder, "2", "stamps", behind="1")

    with pytest.raises(MigrationError, match="it has had 3, and no file has this revision"):
        folder.migrate()

    assert not inspect(folder.engine).has_table("stamps")
