"""One run at a time on one database."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from lamplighter.database.migrations import alone as module
from lamplighter.database.migrations.alone import SUFFIX, alone
from lamplighter.errors import MigrationError
from tests.lamplighter.database.migrations.conftest import Open

ROOT = Path(__file__).parents[4]

HOLDER = """
import sys
from sqlalchemy import create_engine
from lamplighter.database.migrations.alone import alone

with alone(create_engine("sqlite:///" + sys.argv[1]), print):
    print("here", flush=True)
    sys.stdin.read()
"""


def on_file(path: Path) -> Engine:
    """An engine on a file of SQLite's, which need not be there."""
    return create_engine(f"sqlite:///{path}")


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mysql", marks=pytest.mark.mysql),
    ]
)
def engine(request: pytest.FixtureRequest, open_database: Open) -> Engine:
    """An empty database."""
    return open_database(request.param)


def test_the_next_run_waits_and_says_so(engine: Engine) -> None:
    is_told, is_in = threading.Event(), threading.Event()

    def wait() -> None:
        with alone(engine, lambda text: is_told.set()):
            is_in.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with alone(engine, lambda text: None):
        waiting.start()
        assert is_told.wait(10)
        assert not is_in.is_set()
    waiting.join(10)

    assert is_in.is_set()


def test_a_run_does_not_wait_for_ever(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.0)

    with (
        alone(engine, lambda text: None),
        pytest.raises(MigrationError, match="Another run of migrations"),
        alone(engine, lambda text: None),
    ):
        pytest.fail("two runs at once")

    with alone(engine, lambda text: pytest.fail("the lock was not given back")):
        pass


def test_a_run_that_fails_lets_the_next_in(engine: Engine) -> None:
    with pytest.raises(RuntimeError), alone(engine, lambda text: None):
        raise RuntimeError

    with alone(engine, lambda text: pytest.fail(text)):
        pass


def test_sqlites_file_is_there_while_a_run_is(tmp_path: Path) -> None:
    engine, file = on_file(tmp_path / "test.sqlite"), tmp_path / f"test.sqlite{SUFFIX}"

    with alone(engine, lambda text: None):
        assert file.exists()

    assert not file.exists()


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    database = tmp_path / "test.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / f"test.sqlite{SUFFIX}").exists()

    with alone(on_file(database), lambda text: pytest.fail(text)):
        pass


def test_a_link_to_a_database_is_that_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.0)
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "test.sqlite")

    with (
        alone(on_file(tmp_path / "test.sqlite"), print),
        pytest.raises(MigrationError),
        alone(on_file(tmp_path / "link.sqlite"), lambda text: None),
    ):
        pytest.fail("two runs at once")


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    engine = on_file(tmp_path / "nowhere/test.sqlite")

    with (
        pytest.raises(MigrationError, match=r"nowhere/test\.sqlite-migrating can't be made and locked"),
        alone(engine, print),
    ):
        pytest.fail("it was made")


def test_many_threads_are_alone_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    engine = on_file(tmp_path / "test.sqlite")
    inside, most = [0], [0]

    def enter() -> None:
        for _ in range(50):
            with alone(engine, lambda text: None):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=enter, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert most == [1]
