"""What `make:migration` writes."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from lamplighter.database.migrations import Migrator
from lamplighter.errors import MigrationError


def quiet(name: str, seconds: float) -> None:
    """Show nothing."""


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


def test_none_stands_behind_the_frameworks_own(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    first = migrator.make("create_letters_table")
    for name in ("2026_11_24_000000", "lamplighter_2027"):
        (first.parent / f"{name}.py").write_text(first.read_text().replace(first.stem[:17], name))
    first.unlink()

    made = [migrator.make("create_stamps_table"), migrator.make("create_seals_table")]

    assert "down_revision = None\n" in made[0].read_text()
    assert f'down_revision = "{made[0].stem[:17]}"\n' in made[1].read_text()


def test_a_table_of_any_name_is_made(engine: Engine, tmp_path: Path) -> None:
    migrator = Migrator(engine, tmp_path / "migrations")
    migrator.make("odd", create='a "quoted" näme\\')

    assert (migrator.migrate(quiet), migrator.rollback(quiet)) == (1, 1)
