"""Adopts a database that another application made, such as the PHP one: its rows move into tables of ours."""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    Engine,
    column,
    create_engine,
    func,
    inspect,
    literal_column,
    select,
    table,
    types,
)
from sqlalchemy.exc import DBAPIError, SAWarning

from lamplighter.database import sqlite
from lamplighter.database.migrations.applied import BASELINE, BATCHES, VERSIONS, Applied
from lamplighter.database.migrations.migrator import Migrator
from lamplighter.database.migrations.revisions import read
from lamplighter.database.migrations.running import TRANSACTIONAL, Told, Warn
from lamplighter.errors import MigrationError

OLD = "baseline_"
OURS = frozenset({VERSIONS.name, BATCHES.name})
KINDS = (
    (types.Boolean, "boolean"),
    (types.Integer, "integer"),
    (types.String, "text"),
    (types.Uuid, "text"),
    (types.DateTime, "datetime"),
    (types.LargeBinary, "binary"),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: its columns by name, as SQLAlchemy's inspector tells of them, and its primary key."""

    columns: dict[str, Any]
    key: tuple[str, ...]


def adopt(engine: Engine, folder: Path, told: Told, *, warn: Warn = log.warning) -> list[str]:
    """Make our tables and move the rows of equally named ones into them, in one transaction; which tables moved.

    Raises:
        MigrationError: the database is adopted already, or differs in a way that would lose something; it is named.
    """
    migrator = Migrator(engine, folder, warn=warn)
    if engine.dialect.name not in TRANSACTIONAL:
        # A table that was renamed stays renamed when a later step fails.
        raise MigrationError(f"Only a database on SQLite or PostgreSQL can be adopted, not on {engine.dialect.name}.")
    revisions, wanted = read(folder), _wanted(folder)
    with migrator.run(told, is_whole=True) as run, run.whole():
        connection = run.connection
        if Applied(connection, revisions).batches:
            raise MigrationError("This database has our migrations already; run `migrate` without --baseline.")
        names = sorted(set(inspect(connection).get_table_names()) & set(wanted))
        there = {name: _shape(connection, name) for name in names}
        problems = [problem for name in names for problem in _differences(connection, name, there[name], wanted[name])]
        if problems:
            raise MigrationError("The database differs from what our migrations make: " + "; ".join(problems) + ".")
        _rename(connection, names)
        migrator.apply(run, revisions, batch=BASELINE)
        _move(connection, {name: [*shape.columns] for name, shape in there.items()})
        if new := run.dangling():
            raise MigrationError(f"The rows do not fit our tables: {new}. Nothing was changed.")
        for name in names:
            _count_on(connection, name, wanted[name])
    return names


def _wanted(folder: Path) -> dict[str, Shape]:
    """The tables that our migrations make, found out on an empty database."""
    sqlite.register()
    scratch = create_engine(f"{sqlite.DRIVER}://", connect_args={"factory": sqlite.SqliteConnection})
    migrator = Migrator(scratch, folder)
    try:
        with migrator.run(lambda name, seconds: None, is_whole=True) as run, run.whole():
            migrator.apply(run, read(folder))
            names = set(inspect(run.connection).get_table_names()) - OURS
            return {name: _shape(run.connection, name) for name in names}
    except MigrationError as error:
        raise MigrationError(f"The migrations were tried on an empty SQLite database first: {error}") from error
    finally:
        scratch.dispose()


def _shape(connection: Connection, name: str) -> Shape:
    found = inspect(connection)
    with warnings.catch_warnings():
        # That a length is meaningless, as in Laravel's tinyint(1) on SQLite, is nothing to frighten anybody with.
        warnings.simplefilter("ignore", SAWarning)
        columns = found.get_columns(name)
    key = found.get_pk_constraint(name)["constrained_columns"]
    return Shape({each["name"]: each for each in columns}, tuple(key))


def _differences(connection: Connection, name: str, there: Shape, wanted: Shape) -> Iterator[str]:
    """What would lose something or not fit; an absent column that may be empty is no difference."""
    for each, ours in sorted(wanted.columns.items()):
        theirs = there.columns.get(each)
        if theirs is not None:
            yield from _unfit(connection, name, theirs, ours)
        elif not ours["nullable"]:
            yield f"{name}.{each} is missing"
    for each in sorted(set(there.columns) - set(wanted.columns)):
        yield f"{name}.{each} is not ours and would be lost"
    if set(wanted.key) <= set(there.columns):
        key: list[ColumnClause[Any]] = [column(each) for each in wanted.key]
        twice = select(*key).select_from(table(name)).group_by(*key).having(func.count() > 1).subquery()
        if count := connection.scalar(select(func.count()).select_from(twice)):
            yield f"{name} has {count} values of ({', '.join(wanted.key)}) more than once"


def _unfit(connection: Connection, name: str, theirs: Any, ours: Any) -> Iterator[str]:
    path, kind, wanted = f"{name}.{ours['name']}", _kind(theirs["type"]), _kind(ours["type"])
    # SQLite has no booleans: PHP declares them tinyint.
    is_flag = connection.dialect.name == "sqlite" and (kind, wanted) == ("integer", "boolean")
    if kind != wanted and not is_flag:
        yield f"{path} is {kind}, not {wanted}"
        return
    value: ColumnClause[Any] = column(ours["name"])
    rows = select(func.count()).select_from(table(name))
    if not ours["nullable"] and (count := connection.scalar(rows.where(value.is_(None)))):
        yield f"{path} is empty in {count} rows"
    # SQLite keeps any text as a time, and each answer that holds the row would fail.
    is_text = connection.dialect.name == "sqlite" and wanted == "datetime"
    if is_text and (count := connection.scalar(rows.where(value.is_not(None), func.datetime(value).is_(None)))):
        yield f"{path} is no time in {count} rows"
    length = getattr(ours["type"], "length", None)
    if length and (count := connection.scalar(rows.where(func.length(value) > length))):
        yield f"{path} is longer than {length} in {count} rows"


def _kind(of: Any) -> str:
    if isinstance(of, types.DateTime) and of.timezone:
        return "datetime with a time zone"
    return next((name for kind, name in KINDS if isinstance(of, kind)), str(of).lower())


def _rename(connection: Connection, names: list[str]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    for name in names:
        connection.exec_driver_sql(f"ALTER TABLE {quote(name)} RENAME TO {quote(OLD + name)}")


def _move(connection: Connection, moved: dict[str, list[str]]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    for name, names in moved.items():
        new, old = (table(each, *(column(of) for of in names)) for each in (name, OLD + name))
        try:
            connection.execute(new.insert().from_select(names, select(*old.c)))
            connection.exec_driver_sql(f"DROP TABLE {quote(OLD + name)}")
        except DBAPIError as error:
            raise MigrationError(f"The table {name} can't be adopted: {error.orig}. Nothing was changed.") from error


def _count_on(connection: Connection, name: str, shape: Shape) -> None:
    """Let PostgreSQL number new rows behind the ones that came with their numbers."""
    if connection.dialect.name != "postgresql" or len(shape.key) != 1:
        return
    [key] = shape.key
    if _kind(shape.columns[key]["type"]) == "integer":
        highest = select(func.max(column(key))).select_from(table(name)).scalar_subquery()
        sequence = func.pg_get_serial_sequence(connection.dialect.identifier_preparer.quote(name), key)
        # An empty table has no highest number, and setval of null changes nothing.
        connection.execute(select(func.setval(sequence, highest, literal_column("true"))))
