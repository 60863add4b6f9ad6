"""A file of SQLite that is replaced or removed while the process has it open."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from lamplighter.database.errors import SqlAlchemyErrors, is_missing_table
from lamplighter.database.manager import DatabaseManager

INSERT = text("INSERT INTO t VALUES (1)")
COUNT = text("SELECT count(*) FROM t")

Write = Callable[[DatabaseManager], None]


def in_transaction(databases: DatabaseManager) -> None:
    with databases.engine().begin() as connection:
        connection.execute(INSERT)


def in_session(databases: DatabaseManager) -> None:
    with databases.session() as session:
        session.execute(INSERT)
        session.commit()


def as_statement(databases: DatabaseManager) -> None:
    with databases.statements().connection() as connection:
        connection.execute(INSERT)


def as_statement_of_a_thread(databases: DatabaseManager) -> None:
    errors: list[Exception] = []

    def write() -> None:
        try:
            as_statement(databases)
        except OperationalError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


WRITES = pytest.mark.parametrize("write", [in_transaction, in_session, as_statement, as_statement_of_a_thread])


@pytest.fixture
def file(databases: DatabaseManager, tmp_path: Path) -> Path:
    """The file, all of it in one: its log is empty."""
    with databases.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return tmp_path / "test.sqlite"


def replace(file: Path) -> None:
    """Put a copy in its place, as whoever restores a backup does."""
    copy = file.with_suffix(".copy")
    shutil.copy(file, copy)
    remove(file)
    copy.rename(file)


def remove(file: Path) -> None:
    for end in ("-wal", "-shm", ""):
        file.with_name(file.name + end).unlink(missing_ok=True)


def count(databases: DatabaseManager) -> int:
    """The rows that a process would find that begins now."""
    databases.dispose()
    with databases.engine().connect() as connection:
        return int(connection.scalar(COUNT) or 0)


@WRITES
def test_what_is_written_after_a_file_was_replaced_is_in_the_new_one(
    databases: DatabaseManager, file: Path, write: Write
) -> None:
    write(databases)
    replace(file)

    for _ in range(3):
        write(databases)

    assert count(databases) == 3


@WRITES
def test_nothing_is_written_into_a_file_that_was_removed(databases: DatabaseManager, file: Path, write: Write) -> None:
    write(databases)
    remove(file)

    with pytest.raises(OperationalError) as told:
        write(databases)

    assert is_missing_table(told.value)


def test_connections_that_wait_in_the_pool_are_all_made_anew(databases: DatabaseManager, file: Path) -> None:
    engine = databases.engine()
    connections = [engine.connect() for _ in range(8)]
    for connection in connections:
        connection.close()
    replace(file)

    for _ in range(8):
        in_transaction(databases)

    assert count(databases) == 8


def test_a_transaction_whose_file_is_replaced_before_its_commit_is_told(databases: DatabaseManager, file: Path) -> None:
    with databases.session() as session:
        session.execute(INSERT)
        replace(file)

        with pytest.raises(OperationalError, match="moved, replaced or removed") as told:
            session.commit()
    in_session(databases)

    assert SqlAlchemyErrors().is_lost_connection(told.value)
    assert count(databases) == 1


@pytest.mark.parametrize("is_main", [True, False])
def test_a_statement_whose_file_is_replaced_meanwhile_is_told(
    databases: DatabaseManager, file: Path, is_main: bool
) -> None:
    told: list[OperationalError] = []

    def write() -> None:
        try:
            with databases.statements().connection() as connection:
                replace(file)
                connection.execute(INSERT)
        except OperationalError as error:
            told.append(error)

    thread = threading.Thread(target=write)
    if is_main:
        write()
    else:
        thread.start()
        thread.join()
    as_statement(databases)

    assert ["moved, replaced or removed" in str(error) for error in told] == [True]
    assert count(databases) == 1
