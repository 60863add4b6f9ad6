"""Adopts a database that another application made, such as the PHP one: its rows move into tables of ours."""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from lamplighter.database.migrations import BATCHES, Migrator, Told
from lamplighter.errors import MigrationError

OLD = "baseline_"
OURS = frozenset({"alembic_version", BATCHES.name})


def adopt(engine: Engine, folder: Path, told: Told) -> list[str]:
    """Make our tables and move the rows of equally named ones into them, in one transaction; which tables moved.

    Raises:
        MigrationError: the database is adopted already, or differs in a way that would lose something; it is named.
    """
    migrator = Migrator(engine, folder)
    if any(status.is_applied for status in migrator.status()):
        raise MigrationError("This database has our migrations already; run `migrate` without --baseline.")
    wanted = _wanted(folder)
    with engine.begin() as connection:
        present = set(inspect(connection).get_table_names()) & set(wanted)
        _refuse_differences(connection, {table: wanted[table] for table in present})
        for table in sorted(present):
            connection.execute(text(f'ALTER TABLE "{table}" RENAME TO "{OLD}{table}"'))
        migrator.migrate_on(connection, told)
        for table in sorted(present):
            _move(connection, table, sorted(wanted[table]))
    return sorted(present)


def _wanted(folder: Path) -> dict[str, set[str]]:
    """The tables that our revisions make, with their columns."""
    scratch = create_engine("sqlite://")
    Migrator(scratch, folder).migrate(lambda name, seconds: None)
    found = inspect(scratch)
    tables = {name: {column["name"] for column in found.get_columns(name)} for name in found.get_table_names()}
    scratch.dispose()
    return {name: columns for name, columns in tables.items() if name not in OURS}


def _refuse_differences(connection: Connection, wanted: dict[str, set[str]]) -> None:
    found = inspect(connection)
    problems = []
    for table, columns in sorted(wanted.items()):
        present = {column["name"] for column in found.get_columns(table)}
        problems += [f"{table}.{name} is missing" for name in sorted(columns - present)]
        problems += [f"{table}.{name} is not ours and would be lost" for name in sorted(present - columns)]
    if problems:
        raise MigrationError("The database differs from what our migrations make: " + "; ".join(problems) + ".")


def _move(connection: Connection, table: str, columns: list[str]) -> None:
    names = ", ".join(f'"{name}"' for name in columns)
    try:
        connection.execute(text(f'INSERT INTO "{table}" ({names}) SELECT {names} FROM "{OLD}{table}"'))
    except DBAPIError as error:
        raise MigrationError(f"The rows of {table} do not fit our table: {error.orig}. Nothing was changed.") from error
    connection.execute(text(f'DROP TABLE "{OLD}{table}"'))
