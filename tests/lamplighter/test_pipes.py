"""A named pipe in the place of a file that others may write holds nobody up."""

import ast
import fcntl
import logging
import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.file import FileStore
from lamplighter.config import Repository
from lamplighter.contracts import Message
from lamplighter.database.migrations.alone import SUFFIX, alone
from lamplighter.database.migrations.revisions import read
from lamplighter.errors import (
    BrokerUnavailable,
    CacheUnavailable,
    ConfigError,
    ConsoleError,
    MigrationError,
    QueueError,
    Unavailable,
)
from lamplighter.foundation.application import Application
from lamplighter.foundation.maintenance import FileMaintenance
from lamplighter.kafka.delays.instance_ids import take_instance_id
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.lock import is_held
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.logging.files import LogFile
from lamplighter.queue.claims.claims import Reference
from lamplighter.queue.claims.folder import Claim, FileClaims
from lamplighter.queue.commands.make_failed_table import MakeFailedTableCommand
from lamplighter.queue.drivers.background.queue import BackgroundQueue, Program
from lamplighter.queue.drivers.background.slots import Slots
from lamplighter.queue.failed import Failure
from lamplighter.queue.failed.file import FileFailedJobs
from lamplighter.queue.guard.health import read_health
from lamplighter.queue.guard.restart import KEY, RestartSignal
from lamplighter.support.discovery import load_settings
from tests.harness import ROOT
from tests.pipes import pipe_at


def test_a_cached_value(tmp_path: Path) -> None:
    store = FileStore(tmp_path)

    with pipe_at(store._path(KEY)), pytest.raises(CacheUnavailable, match="can't be used: Not a regular file"):
        RestartSignal(Cache(store)).read()


def test_a_claimed_payload(tmp_path: Path) -> None:
    reference = Reference("0" * 32, "0" * 64, 7)

    with pipe_at(tmp_path / f"{reference.name}.claim"), pytest.raises(Unavailable, match="Not a regular file"):
        FileClaims(tmp_path).read(Claim(reference, "1"))


def test_a_heartbeat(tmp_path: Path) -> None:
    with (
        pipe_at(tmp_path / "7.json"),
        pytest.raises(QueueError, match=r"7\.json can't be read: Not a regular file\. Remove it, if no worker has"),
    ):
        read_health(tmp_path)


def test_the_name_of_a_mover(tmp_path: Path) -> None:
    first = take_instance_id(tmp_path, "group")
    assert first is not None
    first.release()
    [file] = tmp_path.iterdir()

    with pipe_at(file):
        other = take_instance_id(tmp_path, "group")

    assert other is not None
    assert other.text.startswith("lamplighter-")
    other.release()


def test_the_file_of_failed_jobs(tmp_path: Path) -> None:
    store = FileFailedJobs(tmp_path / "failed-jobs.json", limit=9)
    failure = Failure(
        connection="redis",
        queue="default",
        payload=b"{}",
        error=ValueError("boom"),
        uuid=None,
        key=None,
        headers=(),
        origin="store#7",
        timestamp_ms=None,
    )

    for use in (lambda: list(store.all()), lambda: store.record(failure)):
        with pipe_at(tmp_path / "failed-jobs.json"), pytest.raises(Unavailable, match="can't be used: Not a regular"):
            use()


def test_a_log_file_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(tmp_path / "worker.log")

    with pipe_at(tmp_path / "worker.log"):
        handler.emit(logging.makeLogRecord({"msg": "first"}))
    handler.emit(logging.makeLogRecord({"msg": "second"}))
    handler.close()

    assert "first" in capsys.readouterr().err
    assert (tmp_path / "worker.log").read_text() == "second\n"


def test_a_log_file_may_be_a_pipe_that_somebody_reads(tmp_path: Path) -> None:
    handler = LogFile(tmp_path / "worker.log")

    with pipe_at(tmp_path / "worker.log"):
        reader = os.open(tmp_path / "worker.log", os.O_RDONLY | os.O_NONBLOCK)
        handler.emit(logging.makeLogRecord({"msg": "first"}))
        read = os.read(reader, 99)
        handler.close()
        os.close(reader)

    assert read == b"first\n"


def test_the_output_of_background_jobs(tmp_path: Path) -> None:
    program = Program(tmp_path, tmp_path / "output.log", timeout=60, wait=0)
    queue = BackgroundQueue("background", program, Slots(tmp_path / "slots", 1), pytest.fail)

    with pipe_at(tmp_path / "output.log"), pytest.raises(Unavailable, match=r"a pipe that nobody reads \(.*output"):
        queue.push(Message(b"{}"), queue="default")


def test_settings(tmp_path: Path) -> None:
    with pipe_at(tmp_path / "config/queue.py"), pytest.raises(ConfigError, match=r"config/queue\.py can't be read"):
        load_settings(tmp_path / "config/queue.py")


def test_a_migration(tmp_path: Path) -> None:
    with pipe_at(tmp_path / "m.py"), pytest.raises(MigrationError, match=r"The migration m\.py can't be read"):
        read(tmp_path)


def test_the_migrations_among_which_that_of_failed_jobs_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "database/migrations/m.py"
    app = Application(tmp_path, providers=[])
    command = MakeFailedTableCommand(app, Repository({}))

    with pipe_at(path), pytest.raises(ConsoleError, match=r"m\.py can't be read: Not a regular file"):
        command.handle()


def test_no_file_is_read_in_another_way() -> None:
    """What others may have put in its place: `read_file` waits for nobody."""
    readers = {
        f"{path.relative_to(ROOT)}: {node.attr}"
        for path in (ROOT / "lamplighter").rglob("*.py")
        if "testing" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("read_text", "read_bytes")
    }

    assert readers == {"lamplighter/support/environment.py: read_bytes"}  # it has looked whether it is a file


def test_the_lock_of_migrations(tmp_path: Path) -> None:
    database = tmp_path / "database.sqlite"

    with pipe_at(tmp_path / f"{database.name}{SUFFIX}"), alone(create_engine(f"sqlite:///{database}"), print):
        pass


def test_the_word_that_the_application_is_down(tmp_path: Path) -> None:
    with pipe_at(tmp_path / "down"):
        is_down = FileMaintenance(tmp_path / "down").is_down()

    assert is_down


def test_the_files_of_the_embedded_broker(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path / "framework")
    with pipe_at(folder.path / "embedded-broker.json"):
        assert not folder.lives()
        assert folder.lost() is None
    with pipe_at(folder.path / "embedded-unread.json"):
        assert folder.unread() == {}
    with pipe_at(folder.path / "embedded-users/1.lock"):
        assert folder.take_leases()
    with pipe_at(folder.path / "embedded-readers/1.json"), pytest.raises(OSError, match="Not a regular file"):
        folder.readers()
    with pipe_at(folder.path / "embedded-pushes.json"):
        assert LargePushes(folder.path).under_way("store[0]", []) == 0


@pytest.mark.parametrize("name", ["embedded-broker.lock", "embedded-life.lock", "embedded-publish.lock"])
def test_a_lock_of_the_embedded_broker(tmp_path: Path, name: str) -> None:
    folder = BrokerFolder(tmp_path / "framework")

    with pipe_at(folder.path / name), folder.alone(wait=1):
        begun = folder.begin("127.0.0.1:1")
        folder.withdraw()

    assert begun


def test_the_log_of_the_embedded_broker(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "framework", environment="testing")

    with pipe_at(broker.folder.log), pytest.raises(BrokerUnavailable, match=r"can't be used in .*embedded-broker\.log"):
        broker.address()

    broker.detach()


def test_what_is_locked_though_it_is_a_pipe_is_held(tmp_path: Path) -> None:
    with pipe_at(tmp_path / "pipe"), (tmp_path / "pipe").open("r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held = is_held(tmp_path / "pipe")

    assert held
