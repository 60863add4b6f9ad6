"""The foundation's commands, through an application of their own."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lamplighter
from lamplighter.console.command import Command
from lamplighter.foundation.application import Application
from lamplighter.foundation.commands import COMMANDS
from lamplighter.foundation.provider import FoundationServiceProvider
from lamplighter.support.provider import CommandEntry

Artisan = Callable[..., int]
Screen = pytest.CaptureFixture[str]

APP = """
config = {"name": "Shop", "debug": True, "timezone": "UTC", "key": "s3cr3t-key"}
"""
QUEUE = """
config = {
    "default": "kafka",
    "connections": {
        "kafka": {
            "brokers": "a:9092,b:9092",
            "topics": ["api", "log"],
            "sasl_password": "s3cr3t-password",
            "group": None,
            "options": {"ssl": {"key": "s3cr3t-option"}},
            "url": "redis://user:s3cr3t-url@host/0",
        },
    },
}
"""

ARTISAN = """
import sys
from pathlib import Path

from lamplighter.foundation.application import Application
from lamplighter.support.provider import CommandEntry, ServiceProvider


class Provider(ServiceProvider):
    def register(self) -> None:
        ENTRY


sys.exit(Application(Path(__file__).parent, providers=[Provider]).run(sys.argv[1:]))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "app.py").write_text(APP)
    (tmp_path / "config" / "queue.py").write_text(QUEUE)
    return tmp_path


@pytest.fixture
def artisan(project: Path) -> Artisan:
    def artisan(*argv: str) -> int:
        return Application(project, providers=[FoundationServiceProvider]).run(argv)

    return artisan


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_table_and_the_classes_agree(entry: CommandEntry) -> None:
    module, _, name = entry.target.partition(":")

    command: type[Command] = getattr(importlib.import_module(module), name)

    assert (command.name, command.description) == (entry.name, entry.description)


def test_down_and_up_say_what_they_did(project: Path, artisan: Artisan, capsys: Screen) -> None:
    for words in (["down"], ["down", "--retry=60", "--message=Moving house"], ["up"], ["up"]):
        assert artisan(*words) == 0

    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        "INFO  Application is now in maintenance mode.",
        "INFO  Maintenance mode options updated.",
        "INFO  Application is now live.",
        "INFO  Application is already up.",
    ]


def test_down_keeps_what_it_was_told_for_whoever_asks(project: Path, artisan: Artisan) -> None:
    artisan("down", "--retry=60", "--message=Moving house")

    kept = json.loads((project / "storage" / "framework" / "down").read_text())
    assert kept["retry"] == 60
    assert kept["message"] == "Moving house"


@pytest.mark.parametrize(
    ("words", "retry"), [(["--retry=0.2"], 1), (["--retry=60"], 60), (["--retry=60.5"], 61), ([], None)]
)
def test_clients_never_come_back_too_early(
    project: Path, artisan: Artisan, words: list[str], retry: int | None
) -> None:
    before = time.time()

    artisan("down", *words)

    kept = json.loads((project / "storage" / "framework" / "down").read_text())
    assert kept["retry"] == retry
    assert kept["time"] >= before


@pytest.mark.parametrize("retry", ["nan", "inf", "-1", "soon"])
def test_a_time_that_is_none_is_refused(artisan: Artisan, capsys: Screen, retry: str) -> None:
    assert artisan("down", f"--retry={retry}") == 1

    assert "--retry" in capsys.readouterr().err


def test_down_says_where_it_can_not_write(project: Path, artisan: Artisan, capsys: Screen) -> None:
    (project / "storage").write_text("no folder")

    assert artisan("down") == 1
    assert artisan("up") == 1

    err = capsys.readouterr().err
    assert err.count("Maintenance mode was not changed") == 2
    assert err.count(f"{project}/storage/framework/down can't be written: Not a directory.") == 2
    assert "Run it again with -v" not in err


def test_env_names_the_environment(artisan: Artisan, capsys: Screen) -> None:
    artisan("env")
    artisan("env", "--env=staging")

    out = capsys.readouterr().out
    assert "The application environment is [testing]." in out
    assert "The application environment is [staging]." in out


@pytest.mark.parametrize(
    "key", [None, "queue", "app", "app.key", "queue.connections.kafka.options.ssl.key", "queue.connections.kafka.url"]
)
def test_the_configuration_is_shown_without_secrets(artisan: Artisan, capsys: Screen, key: str | None) -> None:
    assert artisan("config:show", *([key] if key else [])) == 0

    out = capsys.readouterr().out
    assert "****" in out
    assert "s3cr3t" not in out


def test_a_section_is_shown_with_the_dotted_keys_below_it(artisan: Artisan, capsys: Screen) -> None:
    artisan("config:show", "queue.connections")

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  queue.connections"
    assert lines[2].startswith("  kafka.brokers ....")
    assert lines[2].endswith(".... a:9092,b:9092")
    assert any(line.startswith("  kafka.topics ...") and line.endswith("... [api, log]") for line in lines)
    assert any(line.startswith("  kafka.group ...") and line.endswith("... null") for line in lines)


@pytest.mark.parametrize(("key", "hint"), [("queu", "Did you mean queue?"), ("queue.nope", "has no 'queue.nope'")])
def test_a_key_that_is_not_there_is_an_error(artisan: Artisan, capsys: Screen, key: str, hint: str) -> None:
    assert artisan("config:show", key) == 1

    assert hint in capsys.readouterr().err


def test_about_shows_the_environment_the_versions_and_the_drivers(artisan: Artisan, capsys: Screen) -> None:
    artisan("down")
    capsys.readouterr()

    assert artisan("about", "--json") == 0

    about = json.loads(capsys.readouterr().out)
    assert about["environment"]["application_name"] == "Shop"
    assert about["environment"]["environment"] == "testing"
    assert about["environment"]["maintenance_mode"] == "ENABLED"
    assert about["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert about["drivers"]["queue"] == "kafka"


def test_about_is_readable(artisan: Artisan, capsys: Screen) -> None:
    assert artisan("about") == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  Application Name ....") and line.endswith(".... Shop") for line in lines)


def test_a_command_that_was_made_runs_once_a_provider_names_it(project: Path, artisan: Artisan, capsys: Screen) -> None:
    (project / "app").mkdir()
    (project / "app" / "__init__.py").touch()
    artisan("make:command", "Admin/SayHello", "--command=hello")
    _, _, entry = capsys.readouterr().out.strip().rpartition("\n")
    (project / "artisan.py").write_text(ARTISAN.replace("ENTRY", entry.strip()))

    # In a process of its own: this one may have imported another package named `app`.
    done = subprocess.run(
        [sys.executable, "artisan.py", "hello", "Ada", "--shout"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(lamplighter.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "\n   INFO  HELLO, ADA.  \n\n"


def test_a_command_without_a_name_is_named_after_its_class(project: Path, artisan: Artisan) -> None:
    assert artisan("make:command", "SendReports") == 0

    made = project / "app" / "Console" / "Commands" / "send_reports.py"
    assert 'name = "app:send-reports"' in made.read_text()


@pytest.mark.parametrize("name", ['a" b', "{{ foo }}", "a\nb", "--all", "a:", " "])
def test_a_command_can_not_have_a_name_that_nobody_could_type(
    project: Path, artisan: Artisan, capsys: Screen, name: str
) -> None:
    assert artisan("make:command", "SendReports", f"--command={name}") == 1

    assert "A command can't be named" in capsys.readouterr().err
    assert not (project / "app").exists()


@pytest.mark.parametrize(("value", "told"), [("1", "ENABLED"), ("0", "OFF"), (True, "ENABLED"), (False, "OFF")])
def test_the_digits_of_the_environment_switch_debugging_on_and_off(
    project: Path, artisan: Artisan, capsys: Screen, value: object, told: str
) -> None:
    (project / "config" / "app.py").write_text(f"config = {{'debug': {value!r}}}")

    artisan("about", "--json")

    assert json.loads(capsys.readouterr().out)["environment"]["debug_mode"] == told


def test_a_provider_that_was_made_can_be_registered(project: Path, artisan: Artisan, capsys: Screen) -> None:
    assert artisan("make:provider", "BillingServiceProvider") == 0

    target = "app.Providers.billing_service_provider:BillingServiceProvider"
    assert target in capsys.readouterr().out
    assert (
        "class BillingServiceProvider(ServiceProvider):"
        in (project / "app" / "Providers" / "billing_service_provider.py").read_text()
    )


def test_what_was_made_is_not_made_again(artisan: Artisan, capsys: Screen) -> None:
    artisan("make:provider", "Billing")

    assert artisan("make:provider", "Billing") == 1
    assert "Provider [app/Providers/billing.py] already exists." in capsys.readouterr().err
    assert artisan("make:provider", "Billing", "--force") == 0
