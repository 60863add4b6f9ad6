"""The migration commands, through an application of their own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, inspect

from lamplighter.database.manager import DatabaseManager
from lamplighter.database.provider import DatabaseServiceProvider
from lamplighter.foundation.application import Application

Artisan = Callable[..., int]
Screen = pytest.CaptureFixture[str]

DATABASE = """
config = {"default": "main", "connections": {
    "main": {"driver": "sqlite", "database": "main.sqlite"},
    "other": {"driver": "sqlite", "database": "other.sqlite"},
}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one database and no migration."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/database.py").write_text(DATABASE)
    return tmp_path


@pytest.fixture
def app(project: Path) -> Iterator[Application]:
    """The project's application."""
    app = Application(project, providers=[DatabaseServiceProvider])
    yield app
    app.make(DatabaseManager).dispose()


@pytest.fixture
def artisan(app: Application) -> Artisan:
    """Runs a command; its exit code."""
    return lambda *argv: app.run(argv)


def lines(screen: Screen) -> list[str]:
    """What was printed since, without what fills a line."""
    return [" ".join(word for word in line.split() if word.strip(".")) for line in screen.readouterr().out.splitlines()]


def test_a_project_without_migrations_has_nothing_to_do(artisan: Artisan, capsys: Screen) -> None:
    codes = [artisan(command) for command in ("migrate", "migrate:status", "migrate:rollback")]

    assert codes == [0, 0, 0]
    assert [line for line in lines(capsys) if line] == [
        "INFO Nothing to migrate.",
        "INFO No migrations found.",
        "INFO Nothing to rollback.",
    ]


def test_a_migration_is_made_run_shown_and_undone(project: Path, artisan: Artisan, capsys: Screen) -> None:
    assert artisan("make:migration", "create_letters_table") == 0
    [path] = (project / "database/migrations").glob("*.py")
    assert f"INFO Migration [database/migrations/{path.name}] created successfully." in lines(capsys)

    assert (artisan("migrate:status", "--pending"), artisan("migrate"), artisan("migrate:status", "--pending")) == (
        1,
        0,
        0,
    )
    shown = lines(capsys)
    assert "INFO Running migrations." in shown
    assert any(line.startswith(path.stem) and line.endswith("DONE") for line in shown)

    artisan("migrate:status")
    assert f"{path.stem} [1] Ran" in lines(capsys)

    artisan("migrate:rollback")
    artisan("migrate:status")
    assert f"{path.stem} Pending" in lines(capsys)


def test_another_database_is_migrated_by_name(app: Application, artisan: Artisan) -> None:
    artisan("make:migration", "letters", "--create=letters")

    artisan("migrate", "--database=other")

    tables = [inspect(app.make(DatabaseManager).engine(name)).has_table("letters") for name in ("main", "other")]
    assert tables == [False, True]


@pytest.mark.parametrize("command", ["migrate", "migrate:rollback"])
def test_production_is_changed_by_force_alone(
    app: Application, artisan: Artisan, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    artisan("make:migration", "letters", "--create=letters")
    if command == "migrate:rollback":
        artisan("migrate", "--force")

    refused = artisan(command)

    has_table = inspect(app.make(DatabaseManager).engine()).has_table("letters")
    assert (refused, has_table) == (1, command == "migrate:rollback")
    assert artisan(command, "--force") == 0
    assert inspect(app.make(DatabaseManager).engine()).has_table("letters") != has_table


def test_a_foreign_database_is_adopted_or_what_differs_is_named(
    app: Application, artisan: Artisan, capsys: Screen
) -> None:
    artisan("make:migration", "letters", "--create=letters")
    with app.make(DatabaseManager).engine().begin() as connection:
        connection.exec_driver_sql("CREATE TABLE letters (id INTEGER)")

    refused = artisan("migrate", "--baseline")

    assert refused == 1
    assert "letters.id is integer, not text" in capsys.readouterr().err
    with app.make(DatabaseManager).engine().begin() as connection:
        connection.exec_driver_sql("DROP TABLE letters")
        connection.exec_driver_sql("CREATE TABLE letters (id CHAR(36))")
    assert artisan("migrate", "--baseline") == 0
    assert "INFO Adopted: letters." in lines(capsys)


def test_what_refers_to_nothing_is_told_on_the_screen(app: Application, artisan: Artisan, capsys: Screen) -> None:
    artisan("make:migration", "letters", "--create=letters")
    with app.make(DatabaseManager).engine().connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        driver.execute("CREATE TABLE children (of INTEGER REFERENCES parents (id))")
        driver.execute("INSERT INTO children VALUES (1)")

    assert artisan("migrate") == 0

    [line] = [line for line in lines(capsys) if line.startswith("WARN")]
    assert "1 rows of children refer to rows of parents that are not there" in line


@pytest.mark.parametrize(
    "command", ["migrate", "migrate --baseline", "migrate:status", "migrate:rollback", "make:migration x"]
)
def test_two_files_of_one_revision_stop_every_command(
    project: Path, artisan: Artisan, capsys: Screen, command: str
) -> None:
    artisan("make:migration", "letters", "--create=letters")
    [path] = (project / "database/migrations").glob("*.py")
    path.with_name("copy.py").write_text(path.read_text())

    assert artisan(*command.split()) == 1

    shown = capsys.readouterr().err
    assert f"{path.name} and copy.py" in shown
    assert "Traceback" not in shown


def test_a_migration_is_made_without_a_database(project: Path, artisan: Artisan) -> None:
    (project / "config/database.py").write_text("config = {'default': 'main', 'connections': {}}")

    assert artisan("make:migration", "letters", "--create=letters") == 0


def test_a_database_that_is_held_is_named_as_such(app: Application, artisan: Artisan, capsys: Screen) -> None:
    artisan("make:migration", "letters", "--create=letters")
    engine = app.make(DatabaseManager).engine()
    event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA busy_timeout = 0"))
    engine.dispose()

    with engine.begin():
        assert artisan("migrate") == 1

    assert "Others hold the database: OperationalError: database is locked. End what" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["migrate", "migrate:status", "migrate:rollback", "migrate --baseline"])
def test_a_database_that_is_away_is_one_line(project: Path, artisan: Artisan, capsys: Screen, command: str) -> None:
    server = '{"driver": "pgsql", "url": "postgresql://ann:hunter2@127.0.0.1:1/x"}'
    (project / "config/database.py").write_text(f"config = {{'default': 'main', 'connections': {{'main': {server}}}}}")

    assert artisan(*command.split()) == 1

    shown = capsys.readouterr().err
    assert "The database does not answer: OperationalError: connection failed" in shown
    assert ("hunter2" in shown, len(shown.strip().splitlines())) == (False, 1)
