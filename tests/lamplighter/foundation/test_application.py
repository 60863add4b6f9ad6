"""The application: its folder, its providers and its console."""

import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lamplighter import contracts
from lamplighter.errors import ConfigError
from lamplighter.foundation.application import Application
from lamplighter.support.provider import ServiceProvider

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


def test_an_unknown_zone_is_named(folder: Path) -> None:
    (folder / "config/app.py").write_text("config = {'timezone': 'Europe/Atlantis'}")

    with pytest.raises(ConfigError, match="Europe/Atlantis"):
        Application(folder).bootstrap()


def test_an_error_before_the_console_is_one_line_and_exit_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = Application(folder, providers=["no.such.module:Thing"]).run(["list"])

    assert (status, "Traceback" in capsys.readouterr().err) == (1, False)


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
