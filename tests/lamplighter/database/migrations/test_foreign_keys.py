"""What refers to a table on SQLite outlives a migration that makes the table anew."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from lamplighter.errors import MigrationError
from tests.lamplighter.database.migrations.conftest import Open
from tests.lamplighter.database.migrations.folder import Folder

RULES = ("CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION")
CHILDREN = [(1, 1), (2, 1), (3, 2)]

WIDEN = """
with op.batch_alter_table("parents") as table:
    table.alter_column("name", type_=sa.String(200))
"""
NARROW = WIDEN.replace("200", "20")
# As somebody writes it who knows of the danger.
BY_HAND = f"""
with op.get_context().autocommit_block():
    op.execute("PRAGMA foreign_keys = OFF")
{WIDEN}
with op.get_context().autocommit_block():
    op.execute("PRAGMA foreign_keys = ON")
"""


def family(engine: Engine, rule: str = "CASCADE", *, orphans: int = 0) -> None:
    """Two parents with three children, and children whose parents are not there."""
    with engine.connect() as connection:
        # As another program may have left them, with foreign keys off, as SQLite has them by default.
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        for statement in (
            "CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR(20))",
            "CREATE TABLE children (id INTEGER PRIMARY KEY, parent_id INTEGER DEFAULT 1 "
            f"REFERENCES parents (id) ON DELETE {rule})",
            "INSERT INTO parents VALUES (1, 'a'), (2, 'b')",
            "INSERT INTO children VALUES (1, 1), (2, 1), (3, 2)",
            *(f"INSERT INTO children VALUES ({90 + number}, 99)" for number in range(orphans)),
        ):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("BEGIN")


def rows(engine: Engine, query: str = "SELECT id, parent_id FROM children ORDER BY id") -> list[tuple[object, ...]]:
    """What a query finds."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def foreign_keys(engine: Engine) -> set[int]:
    """What each connection of the pool says of them."""
    connections = [engine.connect() for _ in range(engine.pool.checkedin())]  # type: ignore[attr-defined]
    found = {connection.scalar(text("PRAGMA foreign_keys")) for connection in connections}
    for connection in connections:
        connection.close()
    return found


@pytest.mark.parametrize("rule", RULES)
def test_children_keep_their_parents_when_the_parents_table_is_made_anew(sqlite: Folder, rule: str) -> None:
    family(sqlite.engine, rule)
    sqlite.write("1_widen", WIDEN, downgrade=NARROW)

    there = []
    for run in (sqlite.migrate, sqlite.rollback, sqlite.migrate):
        run()
        there.append(rows(sqlite.engine))

    assert there == [CHILDREN] * 3
    assert foreign_keys(sqlite.engine) == {1}
    assert sqlite.warnings == []


def test_a_table_that_refers_to_itself_is_made_anew_with_its_rows(sqlite: Folder) -> None:
    with sqlite.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR(20), "
            "parent_id INTEGER, FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE CASCADE)"
        )
        connection.exec_driver_sql("INSERT INTO parents VALUES (1, 'a', NULL), (2, 'b', 1)")
    sqlite.write("1_widen", WIDEN)

    sqlite.migrate()

    assert rows(sqlite.engine, "SELECT id, parent_id FROM parents") == [(1, None), (2, 1)]
    with sqlite.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM parents WHERE id = 1")
    assert rows(sqlite.engine, "SELECT id FROM parents") == []


@pytest.mark.parametrize("then", ["raise RuntimeError('boom')", "raise KeyboardInterrupt", "raise SystemExit(3)"])
def test_one_that_ends_half_way_leaves_the_rows_and_foreign_keys_on(sqlite: Folder, then: str) -> None:
    family(sqlite.engine)
    sqlite.write("1_widen", f"{WIDEN}\n{then}")

    with pytest.raises((MigrationError, KeyboardInterrupt)):
        sqlite.migrate()

    assert (rows(sqlite.engine), sqlite.applied()) == (CHILDREN, [])
    assert foreign_keys(sqlite.engine) == {1}


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_rows_that_a_migration_leaves_without_their_parents_are_named_and_it_is_undone(
    sqlite: Folder, direction: str
) -> None:
    family(sqlite.engine)
    breaks = "op.execute('DELETE FROM parents WHERE id = 1')"
    sqlite.write("1_orphans", **{"upgrade": "pass", direction: breaks})
    if direction == "downgrade":
        sqlite.migrate()

    with pytest.raises(MigrationError, match=r"1_orphans\.py .* 2 rows of children refer to rows of parents") as caught:
        (sqlite.migrate if direction == "upgrade" else sqlite.rollback)()

    assert "ON DELETE" in str(caught.value)
    assert rows(sqlite.engine, "SELECT id FROM parents") == [(1,), (2,)]
    assert (rows(sqlite.engine), foreign_keys(sqlite.engine)) == (CHILDREN, {1})


def test_the_first_of_a_run_that_leaves_orphans_is_the_one_that_is_named(sqlite: Folder) -> None:
    family(sqlite.engine)
    sqlite.write("1_orphans", "op.execute('DELETE FROM parents')")
    sqlite.write("2_innocent")

    with pytest.raises(MigrationError, match=r"1_orphans\.py"):
        sqlite.migrate()

    assert sqlite.told == []


RENAMED = """
op.rename_table("children", "kids")
with op.batch_alter_table("kids") as table:
    table.alter_column("parent_id", new_column_name="of", type_=sa.String(20))
"""


@pytest.mark.parametrize("upgrade", [WIDEN, RENAMED, "pass"])
def test_what_was_orphaned_before_is_told_and_blamed_on_nobody(sqlite: Folder, upgrade: str) -> None:
    family(sqlite.engine, orphans=2)
    sqlite.write("1_innocent", upgrade)

    sqlite.migrate()

    assert sqlite.applied() == ["1_innocent"]
    [warning] = sqlite.warnings
    assert "2 rows of " in warning
    assert "that are not there. It was so before" in warning


def test_one_that_mends_an_orphan_and_makes_another_is_found_out(sqlite: Folder) -> None:
    family(sqlite.engine, orphans=1)
    sqlite.write(
        "1_swap",
        "op.execute('DELETE FROM children WHERE parent_id = 99')\nop.execute('DELETE FROM parents WHERE id = 2')",
    )

    with pytest.raises(MigrationError, match="1 rows of children"):
        sqlite.migrate()

    assert len(rows(sqlite.engine)) == 4


def test_orphans_that_were_mended_are_not_told(sqlite: Folder) -> None:
    family(sqlite.engine, orphans=2)
    sqlite.write("1_mend", "op.execute('DELETE FROM children WHERE parent_id = 99')")

    sqlite.migrate()

    assert (sqlite.warnings, rows(sqlite.engine)) == ([], CHILDREN)


@pytest.mark.parametrize("is_old", [True, False])
def test_a_key_that_is_none_is_blamed_on_who_made_it_so(sqlite: Folder, is_old: bool) -> None:
    unique = "" if is_old else "UNIQUE"
    with sqlite.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE parents (id INTEGER PRIMARY KEY, name VARCHAR(20) {unique})")
        connection.exec_driver_sql(
            "CREATE TABLE children (id INTEGER PRIMARY KEY, of VARCHAR(20) REFERENCES parents (name))"
        )
    sqlite.write(
        "1_no_key",
        'op.create_table("copies", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))\n'
        'op.drop_table("parents")\nop.rename_table("copies", "parents")',
    )

    if is_old:
        sqlite.migrate()
        assert "foreign key mismatch" in sqlite.warnings[0]
    else:
        with pytest.raises(MigrationError, match=r'1_no_key\.py .* foreign key mismatch - "children"'):
            sqlite.migrate()


def test_a_table_without_rowids_and_a_key_of_two_columns_are_looked_at(sqlite: Folder) -> None:
    with sqlite.engine.begin() as connection:
        for statement in (
            'CREATE TABLE "par ents" (a INTEGER, b TEXT, PRIMARY KEY (a, b))',
            'CREATE TABLE one (x TEXT, y INTEGER, FOREIGN KEY (y, x) REFERENCES "par ents" (a, b))',
            'CREATE TABLE two (x TEXT PRIMARY KEY, y INTEGER, FOREIGN KEY (y, x) REFERENCES "par ents") WITHOUT ROWID',
            "INSERT INTO \"par ents\" VALUES (1, 'p')",
            "INSERT INTO one VALUES ('p', 1)",
            "INSERT INTO two VALUES ('p', 1)",
        ):
            connection.exec_driver_sql(statement)
    sqlite.write("1_orphans", "op.execute('DELETE FROM \"par ents\"')")

    with pytest.raises(
        MigrationError, match=r"1 rows of one refer to rows of par ents .*; 1 rows of two refer to rows"
    ):
        sqlite.migrate()


def test_foreign_keys_that_a_migration_switches_on_are_off_for_the_next(sqlite: Folder) -> None:
    family(sqlite.engine)
    sqlite.write("1_by_hand", BY_HAND)
    sqlite.write("2_widen", WIDEN)

    sqlite.migrate()

    assert (rows(sqlite.engine), foreign_keys(sqlite.engine)) == (CHILDREN, {1})


def test_orphans_are_not_committed_by_an_autocommit_block(sqlite: Folder) -> None:
    family(sqlite.engine)
    block = "with op.get_context().autocommit_block():\n    op.execute('VACUUM')"
    sqlite.write("1_orphans", f"op.execute('DELETE FROM parents')\n{block}")

    with pytest.raises(MigrationError, match=r"3 rows of children .* Nothing of this run was kept"):
        sqlite.migrate()

    assert rows(sqlite.engine, "SELECT id FROM parents") == [(1,), (2,)]


def test_the_database_in_memory_is_migrated_likewise(tmp_path: Path, open_database: Open) -> None:
    engine = open_database("memory")
    folder = Folder(tmp_path / "migrations", engine)
    family(engine)
    folder.write("1_widen", WIDEN)

    folder.migrate()

    assert (rows(engine), rows(engine, "PRAGMA foreign_keys")) == (CHILDREN, [(1,)])
