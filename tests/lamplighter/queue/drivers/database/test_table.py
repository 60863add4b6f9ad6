"""The table: our migration, Laravel's own, and the command."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import inspect, text

from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.manager import DatabaseManager
from lamplighter.errors import ConsoleError
from lamplighter.queue.commands.make_table import MakeTableCommand
from lamplighter.queue.drivers.database import migration
from lamplighter.queue.drivers.database.store import DatabaseStore
from lamplighter.queue.drivers.leasing.store import Ended, How
from tests.lamplighter.queue.drivers.database.conftest import migrate

ROOT = Path(__file__).parents[5]

# As Laravel's migration has it made, on each database.
LARAVELS = {
    "sqlite": """CREATE TABLE {name} ("id" integer primary key autoincrement not null, "queue" varchar not null,
        "payload" text not null, "attempts" integer not null, "reserved_at" integer, "available_at" integer not null,
        "created_at" integer not null)""",
    "postgresql": """CREATE TABLE {name} ("id" bigserial not null primary key, "queue" varchar(255) not null,
        "payload" text not null, "attempts" smallint not null, "reserved_at" integer null,
        "available_at" integer not null, "created_at" integer not null)""",
    "mysql": """CREATE TABLE {name} (`id` bigint unsigned not null auto_increment primary key,
        `queue` varchar(255) not null, `payload` longtext not null, `attempts` tinyint unsigned not null,
        `reserved_at` int unsigned null, `available_at` int unsigned not null, `created_at` int unsigned not null)
        default character set utf8mb4 collate 'utf8mb4_unicode_ci'""",
}


@pytest.fixture
def laravels(databases: DatabaseManager, kind: str) -> Iterator[str]:
    """A table that Laravel has made."""
    name = f"jobs_{uuid.uuid4().hex[:8]}"
    with databases.engine().begin() as connection:
        connection.execute(text(LARAVELS[kind].format(name=name)))
        connection.execute(text(f"CREATE INDEX {name}_queue_index ON {name} (queue)"))
    yield name
    with databases.engine().begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {name}"))


@pytest.mark.parametrize("is_migrated", [False, True], ids=["as it is", "with our index"])
def test_laravels_own_table_serves(databases: DatabaseManager, laravels: str, is_migrated: bool) -> None:
    store = DatabaseStore(databases, "database", database=None, table=laravels, seconds=90)
    store.push("default", [Message(b"1"), Message("é€😀".encode())], 0)
    if is_migrated:
        with databases.engine().begin() as connection:
            migrate(connection, laravels)

    first, second = store.take(("default",), 2, ()).leases
    ended = [Ended(first, How.DELETED), Ended(second, How.RELEASED)]
    [again] = store.take(("default",), 2, ended).leases

    assert (again.payload, again.retries) == ("é€😀".encode(), 1)
    assert list(store.renew([again])) == []
    store.close()


def test_a_rollback_leaves_laravels_table_and_drops_ours(databases: DatabaseManager, laravels: str, table: str) -> None:
    with databases.engine().begin() as connection:
        migrate(connection, laravels)
        for name in (laravels, table):
            migrate(connection, name, "downgrade")

    there = inspect(databases.engine())
    assert there.has_table(laravels)
    assert {index["name"] for index in there.get_indexes(laravels)} == {f"{laravels}_queue_index"}
    assert not there.has_table(table)


def test_the_next_job_is_found_by_the_index(databases: DatabaseManager, table: str, kind: str) -> None:
    assert {tuple(index["column_names"]) for index in inspect(databases.engine()).get_indexes(table)} == {
        ("queue", "available_at", "id")
    }


def test_the_skeletons_migration_is_the_one_that_the_command_writes() -> None:
    [path] = (ROOT / "database/migrations").glob("*_create_jobs_table.py")

    assert path.read_text() == migration.text("jobs")


def test_a_migration_is_written_once_for_the_table_of_a_connection(tmp_path: Path) -> None:
    connections = {"database": {"driver": "database", "table": "tasks"}, "kafka": {"driver": "kafka"}}
    app = cast(Any, SimpleNamespace(base_path=tmp_path, path=lambda *parts: tmp_path.joinpath(*parts)))
    command = MakeTableCommand(app, Repository({"queue": {"connections": connections}}))
    command.output = cast(Any, SimpleNamespace(info=lambda line: None))

    command.handle()
    with pytest.raises(ConsoleError, match="already"):
        command.handle()
    with pytest.raises(ConsoleError, match="kafka"):
        command.handle("kafka")

    [path] = (tmp_path / "database/migrations").glob("*_create_tasks_table.py")
    assert path.read_text() == migration.text("tasks")
