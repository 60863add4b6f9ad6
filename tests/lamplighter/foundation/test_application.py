"""The application: its folder, its providers and its console."""

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest

from lamplighter import contracts
from lamplighter.config import Repository
from lamplighter.console.command import Command
from lamplighter.container import Container
from lamplighter.errors import ConfigError
from lamplighter.events import Dispatcher
from lamplighter.foundation.application import Application
from lamplighter.logging.channels import LOGGERS
from lamplighter.support.provider import CommandEntry, ServiceProvider

ROOT = Path(__file__).parents[3]
HEAVY = ("sqlalchemy", "alembic", "confluent_kafka")


class First(ServiceProvider):
    """Tells when it is registered and booted."""

    def register(self) -> None:
        """Before any boot."""
        self.app.make(list).append("register first")

    def boot(self, zone: ZoneInfo) -> None:
        """With what it asks for."""
        self.app.make(list).append(f"boot first in {zone}")


class Second(ServiceProvider):
    """Tells when it is registered."""

    def register(self) -> None:
        """After the first."""
        self.app.make(list).append("register second")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one setting."""
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/app.py").write_text("config = {'timezone': 'Europe/Oslo'}")
    return tmp_path


def test_all_providers_register_before_any_boots(folder: Path) -> None:
    app = Application(folder, providers=[First, Second])
    told: list[str] = app.instance(list, [])
    app.booted(lambda: told.append("booted"))

    app.bootstrap().bootstrap()

    assert told == ["register first", "register second", "boot first in Europe/Oslo", "booted"]
    assert app.make(contracts.Config).string("app.timezone") == "Europe/Oslo"


def test_a_callback_after_the_boot_is_called_at_once(folder: Path) -> None:
    app = Application(folder).bootstrap()
    told: list[int] = []

    app.booted(lambda: told.append(1))

    assert told == [1]


@pytest.mark.parametrize(
    "provider", ["no.such.module:Thing", "lamplighter.errors:Nothing", "lamplighter.errors:ConfigError"]
)
def test_a_provider_that_is_none_is_named(folder: Path, provider: str) -> None:
    with pytest.raises(ConfigError, match=provider):
        Application(folder, providers=[provider]).bootstrap()


@pytest.mark.parametrize("text", ["1/0", "def", "import nothing_of_that_name", "raise SystemExit"])
def test_a_provider_whose_module_breaks_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    module = folder.name
    (folder / f"{module}.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])

    with pytest.raises(ConfigError, match=rf"bootstrap/app\.py.*{module}:Thing.*(Error|SystemExit)"):
        Application(folder, providers=[f"{module}:Thing"]).bootstrap()


class Later(ServiceProvider):
    """Has one step that nobody awaits."""

    async def later(self) -> None:
        """Come to nothing."""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step", ["register", "boot"])
def test_a_provider_that_returns_its_work_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(Later, step, Later.later)

    with pytest.raises(ConfigError, match=rf"The provider .*:Later, when it was {step}ed, has returned a coroutine"):
        Application(folder, providers=[Later]).bootstrap()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("is_booted", [False, True])
def test_a_callback_that_returns_its_work_is_named(folder: Path, *, is_booted: bool) -> None:
    app = Application(folder)
    if is_booted:
        app.bootstrap()

    def call_back() -> None:
        app.booted(Later(app).later)
        app.bootstrap()

    with pytest.raises(ConfigError, match=r"The callback .*Later\.later, .* has returned a coroutine"):
        call_back()


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "Europe", "", "../UTC"])
def test_an_unknown_zone_is_named(folder: Path, zone: str) -> None:
    (folder / "config/app.py").write_text(f"config = {{'timezone': {zone!r}}}")

    with pytest.raises(ConfigError, match=f"timezone {zone!r}"):
        Application(folder).bootstrap()


@pytest.mark.parametrize("name", ["", "null", "empty"])
def test_an_environment_that_is_left_blank_is_production(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("APP_ENV", name)

    assert Application(folder).bootstrap().environment == "production"


def test_what_is_asked_for_by_its_class_is_the_applications_own(folder: Path) -> None:
    app = Application(folder).bootstrap()

    assert app.make(Repository) is app.make(contracts.Config)
    assert app.make(Dispatcher) is app.make(contracts.Events)
    assert app.make(Container) is app


class Breaking(ServiceProvider):
    """Breaks when it is registered."""

    def register(self) -> None:
        """Raise what nobody expects."""
        raise ZeroDivisionError("by nothing")


@pytest.mark.parametrize("provider", ["no.such.module:Thing", Breaking])
def test_an_error_before_the_console_is_one_line_and_exit_1(
    folder: Path, capsys: pytest.CaptureFixture[str], provider: str | type[ServiceProvider]
) -> None:
    status = Application(folder, providers=[provider]).run(["list"])

    err = capsys.readouterr().err
    assert (status, "ERROR" in err, "Traceback" in err) == (1, True, False)


def test_an_error_before_the_console_comes_with_its_trace_when_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Application(folder, providers=[Breaking]).run(["list", "-v"]) == 1

    assert "Traceback" in capsys.readouterr().err


def test_artisan_runs_from_any_folder_and_on_a_safe_path(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "artisan.py"), "list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, "queue:work" in done.stdout) == (0, True)


@pytest.mark.parametrize("command", ["list", "queue:restart"])
def test_light_commands_import_nothing_heavy(tmp_path: Path, command: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from bootstrap.app import create_app\n"
        f"status = create_app().run([{command!r}, '-q'])\n"
        f"print(status, [name for name in {HEAVY} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"CACHE_STORE": "array", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.strip().endswith("0 []"), done.stdout + done.stderr


def test_the_configuration_and_the_application_have_one_environment(folder: Path) -> None:
    (folder / "config/app.py").write_text(
        "from lamplighter.support.env import env\nconfig = {'env': env('APP_ENV') or 'production', 'timezone': 'UTC'}"
    )
    app = Application(folder)

    app.run(["list", "--env=staging", "-q"])

    assert (app.environment, app.make(contracts.Config).get("app.env")) == ("staging", "staging")


def test_an_application_that_runs_can_not_change_its_environment(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = Application(folder).bootstrap()

    assert app.run(["list", "-q", "--env=testing"]) == 0
    assert app.run(["list", "--env=staging"]) == 1

    assert "--env=staging comes too late" in capsys.readouterr().err


SHOW = """
import subprocess, sys
from lamplighter.foundation.application import Application
app = Application(sys.argv[1])
app.bootstrap() if len(sys.argv) == 2 else app.run(["list", "-q", *sys.argv[2:]])
print(app.environment)
subprocess.run([sys.executable, "-c", "import sys; from lamplighter.foundation.application import Application; "
    "print(Application(sys.argv[1]).bootstrap().environment)", sys.argv[1]], check=True)
"""


def shown(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The environments of a program and of its child, and what they log."""
    return subprocess.run(
        [sys.executable, "-c", SHOW, str(folder), *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize("real", [{}, {"APP_ENV": "testing"}])
def test_a_missing_env_file_is_told_once_where_there_is_an_example(folder: Path, real: dict[str, str]) -> None:
    (folder / ".env.example").write_text("APP_ENV=local\n")

    done = shown(folder, **real)

    assert done.stdout.split() == [real.get("APP_ENV", "production")] * 2
    assert done.stderr.count("there is no .env") == 1


@pytest.mark.parametrize("files", [(), (".env", ".env.example")])
def test_nothing_is_told_of_an_env_file_that_is_there_or_not_wanted(folder: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (folder / name).write_text("APP_ENV=local\n")

    assert shown(folder).stderr == ""


def test_a_missing_file_of_an_environment_is_told_once(folder: Path) -> None:
    (folder / ".env").write_text("APP_ENV=local\n")

    done = shown(folder, "--env=staging")

    assert done.stdout.split() == ["staging", "staging"]
    assert done.stderr.count("the file of this environment is missing") == 1


class Away:
    """Errors of a database, of which one means that it is away."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """Whether it is a ConnectionResetError."""
        return isinstance(error, ConnectionResetError)

    def is_deadlock(self, error: BaseException) -> bool:
        """Never."""
        return False


class Ends(Command):
    """Ends as it is told."""

    name = "ends"

    def handle(self, how: str) -> None:
        """Raise."""
        if how == "table":
            raise sqlite3.OperationalError("no such table: one")
        raise {"lost": ConnectionResetError, "other": ValueError}[how]("one\ntwo")


class Ending(ServiceProvider):
    """Adds the command, and knows a database."""

    def register(self) -> None:
        """Bind and add."""
        self.app.instance(contracts.DatabaseErrors, Away())
        self.commands(CommandEntry("ends", "Ends", f"{__name__}:Ends"))


def test_a_database_that_is_away_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Application(folder, providers=[Ending]).run(["ends", "lost"]) == 1

    assert [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()] == [
        "ERROR  The database does not answer: ConnectionResetError: one. Its settings are in config/database.py."
    ]


def test_a_table_that_is_missing_is_one_line_that_names_migrate(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Application(folder, providers=[Ending]).run(["ends", "table"]) == 1

    assert [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()] == [
        "ERROR  A table is not there: OperationalError: no such table: one. Run `python artisan.py migrate`."
    ]


@pytest.mark.parametrize(("channel", "logged"), [("stderr", 0), ("single", 1)])
def test_an_error_that_nobody_expected_is_shown_once(
    folder: Path, capsys: pytest.CaptureFixture[str], channel: str, logged: int
) -> None:
    channels = {"one": {"driver": channel, "path": "app.log"}}
    (folder / "config/logging.py").write_text(f"config = {{'default': 'one', 'channels': {channels!r}}}")
    before = {name: logging.getLogger(name).handlers[:] for name in LOGGERS}

    status = Application(folder, providers=[Ending]).run(["ends", "other"])

    for name, handlers in before.items():
        logger = logging.getLogger(name)
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers, logger.level, logger.propagate = handlers, logging.NOTSET, True
    err = capsys.readouterr().err
    log = folder / "app.log"
    assert (status, err.count("ValueError: one"), "two" in err) == (1, 1, False)
    assert (log.read_text().count("ValueError: one") if log.exists() else 0) == logged


class Happened:
    """An event."""


class Fickle(ServiceProvider):
    """Binds, listens and extends; the first boot of each kind fails."""

    fails: ClassVar[list[str]] = []
    told: ClassVar[list[str]] = []

    def register(self) -> None:
        """Do everything that a provider can do."""
        self.app.singleton(list, lambda: ["made"])
        self.app.extend(list, lambda made, _: [*made, "extended"])
        self.app.make(contracts.Events).listen(Happened, lambda _: self.told.append("heard"))
        self.app.booted(self._booted)

    def boot(self) -> None:
        """Fail once."""
        if "boot" in self.fails:
            self.fails.remove("boot")
            raise ConnectionError("not yet")

    def _booted(self) -> None:
        if "booted" in self.fails:
            self.fails.remove("booted")
            raise ConnectionError("not yet")
        self.told.append("booted")


@pytest.mark.parametrize("step", ["boot", "booted"])
def test_a_second_try_to_boot_begins_where_the_first_began(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Fickle, "fails", [step])
    monkeypatch.setattr(Fickle, "told", [])
    before = Application.current
    app = Application(folder, providers=[Fickle])
    with pytest.raises(ConnectionError):
        app.bootstrap()
    assert (app.is_booted, Application.current) == (False, before)

    app.bootstrap()

    app.make(contracts.Events).dispatch(Happened())
    assert Fickle.told == ["booted", "heard"]
    assert app.make(list) == ["made", "extended"]


def test_a_provider_that_is_declared_twice_is_registered_once(folder: Path) -> None:
    app = Application(folder, providers=[First, f"{__name__}:First", First])
    told: list[str] = app.instance(list, [])

    app.bootstrap()

    assert told == ["register first", "boot first in Europe/Oslo"]


class Leaving(ServiceProvider):
    """Ends the program."""

    def register(self) -> None:
        """With 0, as if all were well."""
        sys.exit(0)


@pytest.mark.parametrize(
    ("provider", "said"), [(Breaking, "ZeroDivisionError: by nothing"), (Leaving, "wanted to end the program")]
)
def test_a_provider_that_breaks_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], provider: type[ServiceProvider], said: str
) -> None:
    assert Application(folder, providers=[provider]).run(["list"]) == 1

    err = capsys.readouterr().err
    assert said in err
    assert f"provider {__name__}:{provider.__name__}" in err


class Mute(Exception):
    """Can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_that_can_not_be_told_is_named_by_its_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Hides(ServiceProvider):
        def register(self) -> None:
            raise Mute

    assert Application(folder, providers=[Hides]).run(["list"]) == 1

    assert "ERROR  Mute: <" in capsys.readouterr().err


def test_no_text_of_an_error_steers_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Steers(ServiceProvider):
        def register(self) -> None:
            raise ValueError("one\x1b[2J")

    Application(folder, providers=[Steers]).run(["list", "-v", "--no-ansi"])

    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "\x1b" not in err
