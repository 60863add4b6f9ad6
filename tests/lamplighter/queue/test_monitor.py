"""`queue:monitor`: which queues a command line names."""

from pathlib import Path

import pytest

from lamplighter.foundation.application import Application
from lamplighter.queue.provider import QueueServiceProvider

CONFIG = """config = {"default": "sync", "connections": {"sync": {"driver": "sync"}}}"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    """An application with a connection that keeps no jobs."""
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/queue.py").write_text(CONFIG)
    return Application(tmp_path, providers=[QueueServiceProvider])


@pytest.mark.parametrize("words", ["sync:", ":mail", "mail,:", " : "])
def test_half_a_name_is_no_queue(app: Application, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert app.run(["queue:monitor", words]) == 1

    assert "name both" in capsys.readouterr().err


def test_a_queue_without_a_connection_is_the_defaults(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["queue:monitor", "mail, sync : letters", "--json"]) == 0

    out = capsys.readouterr().out
    assert '"connection": "sync", "queue": "mail"' in out
    assert '"connection": "sync", "queue": "letters"' in out
