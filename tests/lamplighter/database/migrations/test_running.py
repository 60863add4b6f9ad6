"""What is kept of a run, when it ends well, fails, is split by an autocommit block, or is killed."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from lamplighter.database.migrations import Migrator
from lamplighter.errors import MigrationError
from tests.lamplighter.database.migrations.folder import Folder

ROOT = Path(__file__).parents[4]

LETTERS = 'op.create_table("letters", sa.Column("id", sa.Integer, primary_key=True))'
STAMPS = LETTERS.replace("letters", "stamps")
BLOCK = "with op.get_context().autocommit_block():\n    op.execute({statement!r})"
VACUUM = BLOCK.format(statement="VACUUM")
CONCURRENTLY = BLOCK.format(statement="CREATE INDEX CONCURRENTLY by_id ON letters (id)")
BOOM = "raise RuntimeError('boom')"

# Migrates, says so in the middle, and waits there to be killed.
KILLED = """
import sys
from pathlib import Path
from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.migrations import Migrator

options = {"driver": sys.argv[1], "url" if "://" in sys.argv[2] else "database": sys.argv[2]}
manager = DatabaseManager(Repository({"database": {"default": "t", "connections": {"t": options}}}), Path)
Migrator(manager.engine(), Path(sys.argv[3])).migrate(lambda name, seconds: None)
"""
WAIT_TO_BE_KILLED = "print('here', flush=True)\nimport time\ntime.sleep(60)"


def tables(engine: Engine) -> set[str]:
    """The application's own."""
    return set(inspect(engine).get_table_names()) - {"alembic_version", "migration_batches"}


def kill_half_way(folder: Folder, driver: str) -> None:
    """Migrate in a process of its own, and kill it where a migration says that it is there."""
    address = folder.engine.url.database if driver == "sqlite" else folder.engine.url.render_as_string(False)
    command = [sys.executable, "-c", KILLED, driver, str(address), str(folder.path)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "here\n"
        process.kill()
        process.wait(10)


def test_a_run_that_fails_keeps_nothing_and_can_be_repeated(folder: Folder) -> None:
    folder.write("1_letters", LETTERS)
    path = folder.write("2_stamps", f"{STAMPS}\n{BOOM}")

    with pytest.raises(MigrationError, match=r"2_stamps\.py has failed .*boom\. Nothing of this run was kept"):
        folder.migrate()

    assert (tables(folder.engine), folder.applied()) == (set(), [])
    path.write_text(path.read_text().replace(BOOM, ""))
    assert (folder.migrate(), tables(folder.engine)) == (2, {"letters", "stamps"})


def test_a_rollback_that_fails_keeps_nothing(folder: Folder) -> None:
    folder.write("1_letters", LETTERS, downgrade=BOOM)
    folder.write("2_stamps", STAMPS, downgrade='op.drop_table("stamps")')
    folder.migrate()

    with pytest.raises(MigrationError, match=r"1_letters\.py has failed in line 15: RuntimeError: boom"):
        folder.rollback()

    assert (tables(folder.engine), folder.applied()) == ({"letters", "stamps"}, ["1_letters", "2_stamps"])


def test_one_that_exits_is_named(folder: Folder) -> None:
    folder.write("1_exits", "raise SystemExit(0)")

    with pytest.raises(MigrationError, match=r"1_exits\.py has failed in line 11: SystemExit: 0"):
        folder.migrate()


def test_one_that_is_a_generator_is_not_applied(folder: Folder) -> None:
    folder.write("1_letters", f"{LETTERS}\nyield")

    with pytest.raises(MigrationError, match=r"1_letters\.py has failed.*upgrade\(\) has returned a generator"):
        folder.migrate()

    assert (tables(folder.engine), folder.applied()) == (set(), [])


def test_a_rollback_needs_every_way_back_before_it_begins(folder: Folder) -> None:
    path = folder.write("1_letters", LETTERS)
    folder.write("2_stamps", STAMPS, downgrade='op.drop_table("stamps")')
    path.write_text(path.read_text().partition("def downgrade")[0])
    folder.migrate()

    with pytest.raises(MigrationError, match=r"1_letters\.py has no function `downgrade`\. Nothing was changed"):
        folder.rollback()

    assert tables(folder.engine) == {"letters", "stamps"}


def test_what_needs_to_run_outside_of_a_transaction_does(sqlite: Folder) -> None:
    sqlite.write("1_letters", LETTERS)
    sqlite.write("2_vacuum", VACUUM)
    sqlite.write("3_stamps", STAMPS)

    assert sqlite.migrate() == 3
    assert (sqlite.migrate(), tables(sqlite.engine)) == (0, {"letters", "stamps"})


def test_what_was_applied_before_an_autocommit_block_is_kept_and_told(sqlite: Folder) -> None:
    sqlite.write("1_letters", LETTERS)
    path = sqlite.write("2_stamps", f"{STAMPS}\n{VACUUM}\n{BOOM}")

    with pytest.raises(MigrationError) as caught:
        sqlite.migrate()

    assert "applied and kept: 1_letters. What it did before its `autocommit_block()` is kept" in str(caught.value)
    assert (tables(sqlite.engine), sqlite.applied()) == ({"letters", "stamps"}, ["1_letters"])
    path.write_text(path.read_text().replace('op.create_table("stamps",', "(lambda *_: None)(").replace(BOOM, ""))
    assert (sqlite.migrate(), sqlite.applied()) == (1, ["1_letters", "2_stamps"])


def test_what_fails_behind_an_autocommit_block_of_another_is_undone(sqlite: Folder) -> None:
    sqlite.write("1_vacuum", VACUUM)
    sqlite.write("2_letters", LETTERS)
    sqlite.write("3_stamps", f"{STAMPS}\n{BOOM}")

    with pytest.raises(MigrationError, match=r"kept: 1_vacuum\. Nothing else of this run was kept"):
        sqlite.migrate()

    assert (tables(sqlite.engine), sqlite.applied()) == (set(), ["1_vacuum"])


def test_an_autocommit_block_that_fails_is_named(sqlite: Folder) -> None:
    sqlite.write("1_vacuum", BLOCK.format(statement="VACUUM nowhere"))

    with pytest.raises(MigrationError, match=r"1_vacuum\.py has failed in line 12: OperationalError: unknown database"):
        sqlite.migrate()

    with sqlite.engine.begin() as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_killed_run_leaves_nothing_on_sqlite(sqlite: Folder) -> None:
    with sqlite.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR(20))")
        connection.exec_driver_sql("CREATE TABLE children (of INTEGER REFERENCES parents (id) ON DELETE CASCADE)")
        connection.exec_driver_sql("INSERT INTO parents VALUES (1, 'a')")
        connection.exec_driver_sql("INSERT INTO children VALUES (1)")
    widen = 'with op.batch_alter_table("parents") as table:\n    table.alter_column("name", type_=sa.String(200))'
    path = sqlite.write("1_widen", f"{widen}\n{WAIT_TO_BE_KILLED}")

    kill_half_way(sqlite, "sqlite")

    with sqlite.engine.connect() as connection:
        assert connection.execute(text("SELECT of FROM children")).all() == [(1,)]
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    assert (tables(sqlite.engine), sqlite.applied()) == ({"parents", "children"}, [])
    path.write_text(path.read_text().replace("time.sleep(60)", ""))
    assert (sqlite.migrate(), sqlite.warnings) == (1, [])


@pytest.mark.postgresql
def test_a_killed_run_leaves_nothing_on_postgresql(postgresql: Folder) -> None:
    path = postgresql.write("1_letters", f"{LETTERS}\n{WAIT_TO_BE_KILLED}")

    kill_half_way(postgresql, "pgsql")

    path.write_text(path.read_text().replace("time.sleep(60)", ""))
    assert (postgresql.migrate(), tables(postgresql.engine)) == (1, {"letters"})


@pytest.mark.postgresql
def test_an_index_is_made_concurrently_while_another_run_waits(postgresql: Folder, tmp_path: Path) -> None:
    is_waited_for = tmp_path / "is_waited_for"
    wait = f"while not Path({str(is_waited_for)!r}).exists():\n    time.sleep(0.01)"
    postgresql.write("1_letters", LETTERS)
    postgresql.write("2_index", f"import time\nfrom pathlib import Path\n{wait}\n{CONCURRENTLY}")
    migrator = Migrator(postgresql.engine, postgresql.path, warn=lambda text: is_waited_for.touch())
    counts = []
    threads = [
        threading.Thread(target=lambda: counts.append(migrator.migrate(lambda name, seconds: None)), daemon=True)
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(counts) == [0, 2]
    assert [index["name"] for index in inspect(postgresql.engine).get_indexes("letters")] == ["by_id"]


@pytest.mark.postgresql
def test_what_postgresql_refuses_at_the_end_is_told_and_undone(postgresql: Folder) -> None:
    deferred = "REFERENCES letters (id) DEFERRABLE INITIALLY DEFERRED"
    stamps = f"op.execute('CREATE TABLE stamps (of INTEGER {deferred})')\nop.execute('INSERT INTO stamps VALUES (1)')"
    postgresql.write("1_stamps", f"{LETTERS}\n{stamps}")

    with pytest.raises(MigrationError, match="ForeignKeyViolation"):
        postgresql.migrate()

    assert (tables(postgresql.engine), postgresql.applied()) == (set(), [])


@pytest.mark.mysql
def test_what_was_applied_before_one_that_fails_is_kept_where_tables_are_not_transactional(mysql: Folder) -> None:
    mysql.write("1_letters", LETTERS)
    path = mysql.write("2_stamps", f"{STAMPS}\n{BOOM}")

    with pytest.raises(MigrationError) as caught:
        mysql.migrate()

    assert "applied and kept: 1_letters. What it did until then is kept, since m" in str(caught.value)
    assert (tables(mysql.engine), mysql.applied()) == ({"letters", "stamps"}, ["1_letters"])
    path.write_text(path.read_text().replace('op.create_table("stamps",', "(lambda *_: None)(").replace(BOOM, ""))
    assert (mysql.migrate(), mysql.applied()) == (1, ["1_letters", "2_stamps"])


@pytest.mark.mysql
def test_an_autocommit_block_runs_where_tables_are_not_transactional(mysql: Folder) -> None:
    mysql.write("1_letters", f"{LETTERS}\n{BLOCK.format(statement='OPTIMIZE TABLE letters')}", downgrade="pass")
    mysql.write("2_stamps", STAMPS, downgrade='op.drop_table("stamps")')

    assert (mysql.migrate(), mysql.rollback(), tables(mysql.engine)) == (2, 2, {"letters"})
