"""`queue:monitor`: which queues a command line names, and what is told of them."""

import json
from pathlib import Path

import pytest

from lamplighter.cache.provider import CacheServiceProvider
from lamplighter.cache.repository import Cache
from lamplighter.contracts import Events, Message
from lamplighter.errors import QueueError
from lamplighter.foundation.application import Application
from lamplighter.queue.dispatching.deferring import Deferred, Waiting, place_here
from lamplighter.queue.events import QueueBusy
from lamplighter.queue.guard.pausing import PauseSignals
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.provider import QueueServiceProvider

CONFIG = """config = {"default": "sync", "connections": {"sync": {"driver": "sync"}, "memory": {"driver": "memory"}}}"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    """An application with a connection that keeps no jobs."""
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/queue.py").write_text(CONFIG)
    (tmp_path / "config/cache.py").write_text('config = {"default": "array", "stores": {"array": {"driver": "array"}}}')
    return Application(tmp_path, providers=[CacheServiceProvider, QueueServiceProvider])


@pytest.mark.parametrize("words", ["sync:", ":mail", "mail,:", " : "])
def test_half_a_name_is_no_queue(app: Application, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert app.run(["queue:monitor", words]) == 1

    assert "name both" in capsys.readouterr().err


def test_a_queue_without_a_connection_is_the_defaults(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["queue:monitor", "mail, sync : letters", "--json"]) == 0

    out = capsys.readouterr().out
    assert '"connection": "sync", "queue": "mail"' in out
    assert '"connection": "sync", "queue": "letters"' in out


def test_each_number_of_a_queue_is_told(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    fill(app, 2)
    queue = app.make(QueueManager).connection("memory")
    queue.push(Message(b"later"), queue="mail", delay=60)
    PauseSignals(app.make(Cache)).pause("memory", "mail")

    assert app.run(["queue:monitor", "memory:mail", "--json"]) == 0

    [row] = json.loads(capsys.readouterr().out)
    assert 0 <= row.pop("oldest_pending") < 60
    assert row == {
        "connection": "memory",
        "queue": "mail",
        "size": 2,
        "pending": 2,
        "delayed": 1,
        "reserved": 0,
        "paused": True,
        "status": "OK",
        "notes": [],
    }


def test_people_see_that_a_queue_is_paused(app: Application, capsys: pytest.CaptureFixture[str]) -> None:
    fill(app, 2)
    PauseSignals(app.make(Cache)).pause_all()

    app.run(["queue:monitor", "memory:mail"])

    out = capsys.readouterr().out
    assert "[2] OK PAUSED" in out
    assert "Oldest pending job" in out


@pytest.mark.parametrize(
    ("options", "status"), [(["--max=2"], 0), (["--max=2", "--fail"], 1), (["--max=3", "--fail"], 0)]
)
def test_a_queue_that_is_too_long_fails_the_command_where_that_is_wanted(
    app: Application, options: list[str], status: int
) -> None:
    fill(app, 2)

    assert app.run(["queue:monitor", "memory:mail", *options]) == status


def test_a_queue_that_is_too_long_is_told_to_listeners(app: Application) -> None:
    fill(app, 2)
    heard: list[QueueBusy] = []
    app.make(Events).listen(QueueBusy, heard.append)

    app.run(["queue:monitor", "memory:mail,memory:letters", "--max=2"])

    assert heard == [QueueBusy("memory", "mail", 2)]


def test_what_a_listener_defers_runs_though_the_exit_code_tells_of_a_long_queue(app: Application) -> None:
    fill(app, 2)
    ran: list[str] = []

    def defer(event: QueueBusy) -> None:
        block = place_here()
        assert isinstance(block, Deferred)
        block.add(Waiting("letter", lambda: ran.append("letter"), lambda error: None))

    app.make(Events).listen(QueueBusy, defer)

    assert app.run(["queue:monitor", "memory:mail", "--max=2", "--fail"]) == 1
    assert ran == ["letter"]


def test_a_queue_that_can_not_be_counted_hides_no_other(
    app: Application, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(app, 2)

    def refuse(queue: str) -> None:
        raise QueueError("It is away.")

    monkeypatch.setattr(app.make(QueueManager).connection("sync"), "sizes", refuse)

    assert app.run(["queue:monitor", "sync:mail,memory:mail"]) == 1

    said = capsys.readouterr()
    assert "UNKNOWN" in said.out
    assert "[2] OK" in said.out
    assert "It is away." in said.err


def fill(app: Application, count: int) -> None:
    """So many jobs on one queue."""
    app.bootstrap()
    app.make(QueueManager).connection("memory").bulk([Message(b"{}")] * count, queue="mail")
