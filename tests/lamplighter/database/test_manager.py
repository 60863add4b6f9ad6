"""Connections: what SQLite is told, who waits for whom, and what a wrong setting says."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager
from lamplighter.database.sqlite import READ_ONLY
from lamplighter.errors import ConfigError

ROOT = Path(__file__).parents[3]
Make = Callable[..., DatabaseManager]

WRITER = """
import sys
from pathlib import Path
from sqlalchemy import text
from lamplighter.config import Repository
from lamplighter.database.manager import DatabaseManager

connections = {"test": {"driver": "sqlite", "database": sys.argv[1]}}
manager = DatabaseManager(Repository({"database": {"default": "test", "connections": connections}}), Path)
sys.stdin.readline()
for number in range(100):
    with manager.session() as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS t (a INTEGER)"))
        session.scalar(text("SELECT count(*) FROM t"))
        session.execute(text("INSERT INTO t VALUES (1)"))
        session.commit()
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a manager with one connection of these options."""
    made = []

    def make(**options: Any) -> DatabaseManager:
        settings = {"default": "test", "connections": {"test": {"driver": "sqlite", **options}}}
        made.append(DatabaseManager(Repository({"database": settings}), lambda path: tmp_path / path))
        return made[-1]

    yield make
    for manager in made:
        manager.dispose()


def test_a_folder_that_can_not_be_made_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(
        ConfigError, match=r"connections\.test\) has its file in .*/file/data, which can't be made: Not a"
    ):
        make(database="file/data/test.sqlite").engine()


def test_sqlite_lies_below_the_base_path_and_is_set_up_for_several_writers(make: Make, tmp_path: Path) -> None:
    manager = make(database="deep/inside/test.sqlite")

    with manager.engine().connect() as connection:
        names = ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
        found = [connection.scalar(text(f"PRAGMA {name}")) for name in names]

    assert found == ["wal", 30_000, 1, 1]
    assert (tmp_path / "deep/inside/test.sqlite").exists()


def test_an_engine_is_made_once_and_connects_only_when_used(make: Make, tmp_path: Path) -> None:
    manager = make(database="test.sqlite")

    engines = {manager.engine(), manager.engine("test")}

    assert len(engines) == 1
    assert not (tmp_path / "test.sqlite").exists()


def test_processes_that_read_and_then_write_wait_for_each_other(tmp_path: Path) -> None:
    database = tmp_path / "test.sqlite"
    start = [sys.executable, "-c", WRITER, str(database)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen(start, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    ends = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        ends.append((writer.communicate(timeout=60)[1], writer.returncode))

    assert ends == [("", 0)] * 3


def test_a_reader_waits_for_no_writer(make: Make) -> None:
    manager = make(database="test.sqlite")
    with manager.engine().begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    with manager.engine().begin() as writer:
        writer.execute(text("INSERT INTO t VALUES (1)"))

        with manager.engine().connect().execution_options(**READ_ONLY) as reader:
            count = reader.scalar(text("SELECT count(*) FROM t"))

    assert count == 0


def test_threads_that_ask_at_once_get_one_engine(make: Make) -> None:
    manager = make(database="test.sqlite")
    barrier = threading.Barrier(8)
    found = []

    def ask() -> None:
        barrier.wait(10)
        found.append(manager.engine())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert (len(found), len(set(found))) == (8, 1)


def test_an_error_holds_no_values(make: Make) -> None:
    manager = make(database="test.sqlite")

    with pytest.raises(DBAPIError) as caught, manager.session() as session:
        session.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "hunter2"})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"driver": "sqlite", "file": "x"}, r"config/database\.py \(connections\.test\) .*'file'.*database, driver"),
        ({"driver": "pgsql", "port": "many"}, r"config/database\.py \(connections\.test\) .*'port'"),
        ({"driver": "oracle"}, r"config/database\.py \(connections\.test\) .*'driver'"),
        ({"driver": "sqlite", "database": ""}, r"config/database\.py \(connections\.test\) has an empty `database`"),
        ({"driver": "pgsql", "database": ""}, r"config/database\.py \(connections\.test\) has an empty `database`"),
        ({"driver": "pgsql", "url": "mysql://ann:hunter2@db/shop"}, r"the driver pgsql, but a url of mysql://"),
        ({"driver": "mysql", "url": "postgres://ann:hunter2@db/shop"}, r"the driver mysql, but a url of postgres://"),
        ({"driver": "pgsql", "url": "hunter2"}, r"config/database\.py \(connections\.test\) has a url that is none"),
    ],
)
def test_a_wrong_setting_is_named(make: Make, options: dict[str, Any], why: str) -> None:
    manager = make(**options)

    with pytest.raises(ConfigError, match=why) as caught:
        manager.engine()

    assert "hunter2" not in str(caught.value)


def test_an_unknown_connection_is_named_beside_the_known_ones(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"no connection 'mongo'; it has test"):
        make().engine("mongo")


def test_what_the_url_says_wins(make: Make) -> None:
    manager = make(driver="postgresql", url="postgres://ann:secret@db:6543/shop?connect_timeout=9", host="ignored")

    url = manager.engine().url

    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.host, url.port, url.database) == ("ann", "db", 6543, "shop")
    assert url.query == {"connect_timeout": "9"}
    assert "secret" not in repr(manager.engine())


@pytest.mark.postgresql
def test_postgresql_knows_who_is_connected(make: Make) -> None:
    url = os.environ.get("POSTGRES_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a PostgreSQL, and POSTGRES_TEST_URL is not set")
        pytest.skip("no PostgreSQL: set POSTGRES_TEST_URL")

    with make(driver="pgsql", url=url).engine().connect() as connection:
        name = connection.scalar(text("SHOW application_name"))

    assert name == "lamplighter"
