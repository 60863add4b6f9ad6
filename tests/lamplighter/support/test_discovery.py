"""The modules and settings that an application finds in its folders."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.errors import ConfigError
from lamplighter.support.discovery import import_modules, load_settings

PACKAGE = "discovered_by_the_test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package, which this process forgets at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / PACKAGE).mkdir()
    yield tmp_path / PACKAGE
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


def test_what_editors_and_archives_leave_is_no_module(folder: Path) -> None:
    (folder / "send.py").touch()
    (folder / "._send.py").write_bytes(b"\0\5\x16\7")
    (folder / ".#send.py").symlink_to("me@host.1234")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints/send.py").touch()

    assert [module.__name__ for module in import_modules(PACKAGE, folder)] == [f"{PACKAGE}.send"]


def test_a_module_of_another_folder_is_not_taken_for_the_one_that_was_found(folder: Path, tmp_path: Path) -> None:
    (folder / "send.py").touch()
    import_modules(PACKAGE, folder)
    other = tmp_path / "other" / PACKAGE
    other.mkdir(parents=True)
    (other / "send.py").touch()

    with pytest.raises(ConfigError, match=rf"{other}/send\.py is not what Python imports.*{folder}/send\.py"):
        import_modules(PACKAGE, other)


def test_a_folder_may_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "send.py").touch()
    (tmp_path / "current").symlink_to(folder)

    assert len(import_modules(PACKAGE, tmp_path / "current")) == 1


def test_an_error_names_the_line_of_the_module_that_it_comes_from(folder: Path) -> None:
    (folder / "send.py").write_text("import json\n\njson.loads('')\n")

    with pytest.raises(ConfigError, match=r"send\.py, line 3, can't be imported"):
        import_modules(PACKAGE, folder)


def test_an_error_names_the_line_of_the_settings_that_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("config = {\n    'tries': int('many'),\n}\n")

    with pytest.raises(ConfigError, match=r"/queue\.py, line 2, can't be read: ValueError"):
        load_settings(tmp_path / "queue.py")
