"""Adopts a database that another application made, such as the PHP one: its rows move into tables of ours."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnClause,
    Connection,
    Engine,
    cast,
    column,
    create_engine,
    func,
    inspect,
    literal_column,
    select,
    table,
    text,
    types,
)
from sqlalchemy.exc import DBAPIError, SAWarning

from lamplighter.database import sqlite
from lamplighter.database.migrations.applied import BASELINE, BATCHES, VERSIONS, Applied
from lamplighter.database.migrations.migrator import Migrator
from lamplighter.database.migrations.revisions import read, reason
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
TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name ORDER BY 1",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:name) AND NOT tgisinternal ORDER BY 1",
}

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
    if engine.dialect.name not in TRANSACTIONAL:
        # A table that was renamed stays renamed when a later step fails.
        raise MigrationError(f"Only a database on SQLite or PostgreSQL can be adopted, not on {engine.dialect.name}.")
    revisions = read(folder)
    migrator = Migrator(engine, folder, warn=warn)
    wanted = _wanted(folder)
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
    quoted = connection.dialect.identifier_preparer.quote(name) if connection.dialect.name == "postgresql" else name
    for trigger in connection.execute(text(TRIGGERS[connection.dialect.name]), {"name": quoted}).scalars():
        yield f"{name} has the trigger {trigger}, which would be lost"


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
    # SQLite keeps any value in any column, and each answer that holds the row would fail.
    if connection.dialect.name == "sqlite" and (count := _count_unreadable(connection, name, ours["name"], wanted)):
        yield f"{path} is no {'time' if wanted == 'datetime' else wanted} in {count} rows"
    length = getattr(ours["type"], "length", None)
    # PostgreSQL knows no length of a uuid.
    if length and (count := connection.scalar(rows.where(func.length(cast(value, types.Text)) > length))):
        yield f"{path} is longer than {length} in {count} rows"


def _count_unreadable(connection: Connection, name: str, of: str, kind: str) -> int:
    """How many values of a column on SQLite are not of this kind."""
    value: ColumnClause[Any] = column(of)
    rows = table(name, value)
    if kind == "datetime":
        times = select(value, func.count()).select_from(rows).where(value.is_not(None)).group_by(value)
        return sum(count for time, count in connection.execute(times) if not _is_time(connection, time))
    strange = {
        "boolean": value.not_in((0, 1)),
        "integer": func.typeof(value) != "integer",
        "text": func.typeof(value) == "blob",
    }
    if kind not in strange:
        return 0
    return connection.scalar(select(func.count()).select_from(rows).where(value.is_not(None), strange[kind])) or 0


def _is_time(connection: Connection, value: Any) -> bool:
    """Whether SQLAlchemy reads a value of SQLite's as a time; SQLite itself takes the 30th of February for one."""
    read_time = types.DateTime().dialect_impl(connection.dialect).result_processor(connection.dialect, None)
    assert read_time is not None
    try:
        read_time(value)
    except (TypeError, ValueError):
        return False
    return True


def _kind(of: Any) -> str:
    if isinstance(of, types.DateTime) and of.timezone:
        return "datetime with a time zone"
    return next((name for kind, name in KINDS if isinstance(of, kind)), str(of).lower())


def _rename(connection: Connection, names: list[str]) -> None:
    """Put the tables that are there aside."""
    quote = connection.dialect.identifier_preparer.quote
    with _names_kept(connection):
        for name in names:
            with _adopting(name):
                connection.exec_driver_sql(f"ALTER TABLE {quote(name)} RENAME TO {quote(OLD + name)}")


@contextmanager
def _names_kept(connection: Connection) -> Iterator[None]:
    """On SQLite, have all that refers to a table, as a foreign key or a view does, do so by its name: ours gets it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def _move(connection: Connection, moved: dict[str, list[str]]) -> None:
    """Copy the rows into our tables, those first that others refer to, and drop the old ones."""
    quote = connection.dialect.identifier_preparer.quote
    order = [name for name, _ in inspect(connection).get_sorted_table_and_fkc_names() if name in moved]
    for name in order:
        new, old = (table(each, *(column(of) for of in moved[name])) for each in (name, OLD + name))
        with _adopting(name):
            connection.execute(new.insert().from_select(moved[name], select(*old.c)))
    old_names = [quote(OLD + name) for name in order]
    if connection.dialect.name == "postgresql":
        old_names = [", ".join(old_names)] if order else []  # in one statement, since they may refer to each other
    for name in old_names:
        with _adopting(name):
            connection.exec_driver_sql(f"DROP TABLE {name}")


@contextmanager
def _adopting(name: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise MigrationError(f"The table {name} can't be adopted: {reason(error)}. Nothing was changed.") from error


def _count_on(connection: Connection, name: str, shape: Shape) -> None:
    """Let PostgreSQL number new rows after those that came with their numbers."""
    if connection.dialect.name != "postgresql" or len(shape.key) != 1:
        return
    [key] = shape.key
    if _kind(shape.columns[key]["type"]) == "integer":
        highest = select(func.max(column(key))).select_from(table(name)).scalar_subquery()
        sequence = func.pg_get_serial_sequence(connection.dialect.identifier_preparer.quote(name), key)
        # An empty table has no highest number, and setval of null changes nothing.
        connection.execute(select(func.setval(sequence, highest, literal_column("true"))))
