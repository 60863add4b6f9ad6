"""cache:clear and cache:forget, through an application of their own."""

import sys
from pathlib import Path

import pytest

from lamplighter.cache.provider import CacheServiceProvider
from lamplighter.cache.repository import Cache
from lamplighter.foundation.application import Application

STORES = """
config = {"default": "one", "prefix": "", "stores": {"one": {"driver": "array"}, "two": {"driver": "array"}}}
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    """An application whose default store has two values."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/cache.py").write_text(STORES)
    app = Application(tmp_path, providers=[CacheServiceProvider])
    app.bootstrap()
    for key in ("a", "b"):
        app.make(Cache).forever(key, 1)
    return app


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (["cache:clear"], []),
        (["cache:clear", "two"], ["a", "b"]),
        (["cache:forget", "a"], ["b"]),
        (["cache:forget", "none"], ["a", "b"]),
        (["cache:forget", "a", "two"], ["a", "b"]),
    ],
)
def test_a_command_lets_go_of_what_it_names(app: Application, command: list[str], left: list[str]) -> None:
    status = app.run(command)

    assert (status, [key for key in ("a", "b") if app.make(Cache).has(key)]) == (0, left)


def test_an_unknown_store_is_an_error(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    status = app.run(["cache:clear", "three"])

    assert status == 1
    assert "three" in capsys.readouterr().err
