"""A beanstalkd for tests; some kill it and start it again."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.queue.drivers.beanstalkd.store import BeanstalkdStore
from tests.beanstalkd import Server, Stores, look_for_beanstalkd


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server for all tests that take a tube of their own."""
    look_for_beanstalkd()
    server = Server()
    yield server
    server.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill; it keeps its jobs."""
    look_for_beanstalkd()
    (tmp_path / "binlog").mkdir()
    server = Server(tmp_path / "binlog")
    yield server
    server.kill()


@pytest.fixture
def tube() -> str:
    """The name of an empty tube."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def stores(server: Server) -> Iterator[Stores]:
    """Makes stores of the server, one for each worker."""
    made: list[BeanstalkdStore] = []

    def make(ttr: int = 30, *, block_for: int = 0, priority: int = 1024) -> BeanstalkdStore:
        made.append(server.store(ttr, block_for=block_for, priority=priority))
        return made[-1]

    yield make
    for store in made:
        store.close()
