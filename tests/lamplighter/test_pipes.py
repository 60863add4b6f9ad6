"""A named pipe in the place of a file that others may write holds nobody up."""

import fcntl
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.file import FileStore
from lamplighter.database.migrations.alone import SUFFIX, alone
from lamplighter.errors import BrokerUnavailable, CacheUnavailable, QueueError, Unavailable
from lamplighter.foundation.maintenance import FileMaintenance
from lamplighter.kafka.delays.instance_ids import take_instance_id
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.lock import is_held
from lamplighter.kafka.embedded.pushes import LargePushes
from lamplighter.queue.claims.claims import Reference
from lamplighter.queue.claims.folder import Claim, FileClaims
from lamplighter.queue.guard.health import read_health
from lamplighter.queue.guard.restart import KEY, RestartSignal
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
