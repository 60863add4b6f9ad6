"""Adopting a database that the PHP application made, on SQLite, and on PostgreSQL where there is one."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from lamplighter.database.migrations import Migrator
from lamplighter.database.migrations.baseline import adopt
from lamplighter.errors import MigrationError
from tests.lamplighter.database.migrations.folder import Folder

OURS = Path(__file__).parents[4] / "database/migrations"

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
    assert [status.batch for status in migrator.status()] == [0, 0, 0, 0]
    assert "provider" in inspect(engine).get_table_names()


# Ours, whose child comes first in the alphabet.
FAMILY = """
op.create_table("parents", sa.Column("id", sa.String(36), primary_key=True), sa.Column("name", sa.String(20)))
op.create_table(
    "children",
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("of", sa.String(36), sa.ForeignKey("parents.id", ondelete="CASCADE")),
)
"""
THEIR_FAMILY = (
    "CREATE TABLE parents (id CHAR(36) NOT NULL UNIQUE, name VARCHAR(20))",
    "CREATE TABLE children (id CHAR(36) NOT NULL, of CHAR(36) {references})",
    "INSERT INTO parents VALUES ('p', 'a')",
    "INSERT INTO children VALUES ('c', 'p')",
)


def execute(engine: Engine, *statements: str) -> None:
    """Run statements in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize("references", ["", "REFERENCES parents (id) ON DELETE CASCADE"])
def test_tables_that_refer_to_each_other_are_adopted(folder: Folder, references: str) -> None:
    folder.write("1_family", FAMILY)
    execute(folder.engine, *(each.format(references=references) for each in THEIR_FAMILY))

    tables = adopt(folder.engine, folder.path, quiet)

    with folder.engine.connect() as connection:
        rows = connection.execute(text("SELECT children.id, name FROM children JOIN parents ON parents.id = of")).all()
    assert (tables, [tuple(row) for row in rows]) == (["children", "parents"], [("c", "a")])


def test_rows_that_do_not_fit_our_foreign_keys_are_named_and_nothing_is_changed(folder: Folder) -> None:
    folder.write("1_family", FAMILY)
    execute(folder.engine, *(each.format(references="") for each in THEIR_FAMILY), "DELETE FROM parents")

    with pytest.raises(MigrationError, match=r"children.*Nothing was changed"):
        adopt(folder.engine, folder.path, quiet)

    assert sorted(inspect(folder.engine).get_table_names()) == ["children", "parents"]


def test_what_others_keep_beside_our_tables_on_sqlite_still_refers_to_them(sqlite: Folder) -> None:
    execute(
        sqlite.engine,
        PHP_PROVIDER,
        PHP_ROW,
        "CREATE TABLE ratings (id INTEGER PRIMARY KEY, of CHAR(36) REFERENCES provider (id) ON DELETE CASCADE)",
        "CREATE TABLE empty (of CHAR(36) REFERENCES provider (id))",
        "CREATE VIEW named AS SELECT name FROM provider",
        "INSERT INTO ratings VALUES (1, '5bf1')",
    )

    adopt(sqlite.engine, OURS, quiet)

    with sqlite.engine.begin() as connection:
        assert connection.execute(text("SELECT of FROM ratings")).all() == [("5bf1",)]
        connection.execute(text("INSERT INTO empty VALUES ('5bf1')"))
        assert connection.execute(text("SELECT name FROM named")).all() == [("Harbour",)]
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        connection.execute(text("DELETE FROM empty"))
        connection.execute(text("DELETE FROM provider"))
        assert connection.execute(text("SELECT of FROM ratings")).all() == []


@pytest.mark.postgresql
def test_what_others_keep_beside_our_tables_on_postgresql_stops_the_adoption(postgresql: Folder) -> None:
    execute(postgresql.engine, PHP_PROVIDER, "CREATE TABLE ratings (of CHAR(36) REFERENCES provider (id))")

    with pytest.raises(MigrationError, match=r"provider can't be adopted: .*ratings.* Nothing was changed"):
        adopt(postgresql.engine, OURS, quiet)

    assert sorted(inspect(postgresql.engine).get_table_names()) == ["provider", "ratings"]


def test_an_autocommit_block_is_refused_where_all_is_done_or_nothing(folder: Folder) -> None:
    folder.write("1_family", f"{FAMILY}\nwith op.get_context().autocommit_block():\n    op.execute('ANALYZE')")
    execute(folder.engine, *(each.format(references="") for each in THEIR_FAMILY))

    with pytest.raises(MigrationError, match=r"1_family\.py .* `autocommit_block\(\)` .* Move this file away"):
        adopt(folder.engine, folder.path, quiet)

    assert sorted(inspect(folder.engine).get_table_names()) == ["children", "parents"]


def test_a_migration_that_sqlite_can_not_run_is_named(folder: Folder) -> None:
    folder.write("1_odd", "op.execute('CREATE EXTENSION citext')")

    with pytest.raises(
        MigrationError, match=r"tried on an empty SQLite database first: .* 1_odd\.py has failed in line"
    ):
        adopt(folder.engine, folder.path, quiet)


@pytest.mark.postgresql
def test_ids_that_postgresql_keeps_as_such_are_adopted(postgresql: Folder) -> None:
    id = "5bf1c1a0-0000-4000-8000-000000000001"
    row = PHP_ROW.replace("'5bf1'", f"'{id}'")
    execute(postgresql.engine, PHP_PROVIDER.replace("id CHAR(36)", "id UUID", 1), row)

    adopt(postgresql.engine, OURS, quiet)

    with postgresql.engine.connect() as connection:
        assert connection.scalar(text("SELECT id FROM provider")) == id


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("'2019-01-02 10:00:00'", "'2019-02-30 10:00:00'", r"provider\.updated is no time in 1 rows"),
        ("'2019-01-02 10:00:00'", "'now'", r"provider\.updated is no time in 1 rows"),
        ("'2019-01-02 10:00:00'", "5", r"provider\.updated is no time in 1 rows"),
        ("true", "'false'", r"provider\.published is no boolean in 1 rows"),
        ("true", "2", r"provider\.published is no boolean in 1 rows"),
        ("'Harbour'", "x'ff00'", r"provider\.name is no text in 1 rows"),
    ],
)
def test_values_that_sqlite_keeps_and_nobody_could_read_are_named(sqlite: Folder, old: str, new: str, why: str) -> None:
    execute(sqlite.engine, LARAVEL_PROVIDER, PHP_ROW.replace(old, new))

    with pytest.raises(MigrationError, match=why):
        adopt(sqlite.engine, OURS, quiet)


def test_a_trigger_that_would_be_lost_is_named(engine: Engine) -> None:
    execute(engine, PHP_PROVIDER)
    if engine.dialect.name == "sqlite":
        execute(engine, "CREATE TRIGGER seen AFTER INSERT ON provider BEGIN SELECT 1; END")
    else:
        unchanged = "suppress_redundant_updates_trigger()"
        execute(engine, f"CREATE TRIGGER seen BEFORE UPDATE ON provider FOR EACH ROW EXECUTE FUNCTION {unchanged}")

    with pytest.raises(MigrationError, match="provider has the trigger seen, which would be lost"):
        adopt(engine, OURS, quiet)


@pytest.mark.mysql
def test_a_database_that_does_not_undo_changes_of_tables_is_not_adopted(mysql: Folder) -> None:
    with pytest.raises(MigrationError, match="Only a database on SQLite or PostgreSQL can be adopted"):
        adopt(mysql.engine, OURS, quiet)
