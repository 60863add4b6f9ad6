"""What a service provider brings."""

import sys
from pathlib import Path

import pytest

from lamplighter.contracts import Config
from lamplighter.errors import ConfigError
from lamplighter.foundation.application import Application
from lamplighter.support.provider import CommandEntry, CommandTable, ServiceProvider

BELOW = "config = {'host': 'below', 'port': 1, 'tls': {'on': True, 'ca': 'below'}, 'names': ['a', 'b']}"
ABOVE = "config = {'host': 'above', 'tls': {'ca': 'above'}, 'names': ['c']}"


class Mail(ServiceProvider):
    """Brings settings and two commands."""

    file: Path | str = "packages/mail.py"

    def register(self) -> None:
        """The later of two commands of one name wins."""
        self.merge_config_from(self.file, "mail")
        self.commands(CommandEntry("mail:send", "Old", "a:A"), CommandEntry("mail:send", "New", "a:B"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a package, seen from another folder."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir("/")
    (tmp_path / "config").mkdir()
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/mail.py").write_text(BELOW)
    return tmp_path


def settings(project: Path, provider: type[Mail] = Mail) -> object:
    """The merged settings."""
    return Application(project, providers=[provider]).bootstrap().make(Config).get("mail")


def test_the_application_wins_at_every_depth(project: Path) -> None:
    (project / "config/mail.py").write_text(ABOVE)

    assert settings(project) == {"host": "above", "port": 1, "tls": {"on": True, "ca": "above"}, "names": ["c"]}


def test_the_packages_settings_stand_alone_where_the_application_has_none(project: Path) -> None:
    assert settings(project) == {"host": "below", "port": 1, "tls": {"on": True, "ca": "below"}, "names": ["a", "b"]}


def test_a_file_may_be_missing_or_stand_elsewhere(project: Path) -> None:
    class Absolute(Mail):
        file = project / "packages/mail.py"

    class Missing(Mail):
        file = Path("packages/nothing.py")

    assert settings(project, Absolute) == settings(project)
    assert settings(project, Missing) is None


def test_a_package_whose_settings_break_is_named_by_its_path(project: Path) -> None:
    (project / "packages/mail.py").write_text("1/0")

    with pytest.raises(ConfigError, match=r"packages/mail\.py, line 1, can't be read: ZeroDivisionError"):
        settings(project)


def test_a_later_command_takes_the_place_of_the_older(project: Path) -> None:
    app = Application(project, providers=[Mail]).bootstrap()

    assert [entry.description for entry in app.make(CommandTable).entries()] == ["New"]
