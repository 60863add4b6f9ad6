"""The driver `redis` keeps what every connection promises."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import pytest
import redis

from lamplighter.queue.drivers.leasing.store import JobStore
from lamplighter.queue.drivers.redis.connect import find_server
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore
from lamplighter.testing.conformance import (
    Conformance,
    ProcessConformance,
    QueueConformance,
    StoreConformance,
    WorkerConformance,
)
from tests.lamplighter.queue.drivers.redis.servers import Cut

PREFIX = f"promises-{os.getpid()}-"
SECTION = {"options": {"prefix": PREFIX}, "default": {"url": os.environ.get("REDIS_TEST_URL")}}
SQLITE = {"sqlite": {"driver": "sqlite", "database": "database/database.sqlite"}}
DATABASE = {"default": "sqlite", "connections": SQLITE, "redis": SECTION}


@pytest.mark.redis
class RedisConformance(Conformance):
    """The Redis that CI promised."""

    files: ClassVar[Mapping[str, str]] = {"config/database.py": f"config = {DATABASE!r}\n"}

    @pytest.fixture(autouse=True)
    def no_keys_that_stay(self, client: "redis.Redis") -> Iterator[None]:
        """Delete what a test has left."""
        yield
        for key in client.scan_iter(match=f"{PREFIX}*"):
            client.delete(key)

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The connection of config/queue.py."""
        return {"driver": "redis", "retry_after": self.lease}

    @pytest.fixture
    def line(self, client: "redis.Redis") -> Iterator[Cut]:
        """The line between a test's stores and the server."""
        line = Cut(client.connection_pool.connection_kwargs["port"])
        yield line
        line.end()

    @pytest.fixture
    def cut(self, line: Cut) -> Callable[[], object]:
        """What cuts the line."""
        return line.cut

    @pytest.fixture
    def lose_answers(self, line: Cut) -> Callable[[JobStore], AbstractContextManager[object]]:
        """What cuts it each time when an answer comes."""

        @contextmanager
        def losing(store: JobStore) -> Iterator[None]:
            line.is_last = lambda answer: True
            yield
            line.is_last = lambda answer: False

        return losing

    @pytest.fixture
    def connect_store(self, client: "redis.Redis", line: Cut) -> Iterator[Callable[[], JobStore]]:
        """A store for each worker of a test."""
        stores: list[RedisStore] = []
        database = client.connection_pool.connection_kwargs.get("db") or 0
        section = {**SECTION, "default": {"port": line.port, "database": database}}

        def connect() -> JobStore:
            options = RedisOptions(driver="redis", retry_after=self.lease)
            stores.append(RedisStore(find_server(section, "default"), options))
            return stores[-1]

        yield connect
        for store in stores:
            store.close()


class TestStore(RedisConformance, StoreConformance):
    """What the engine asks of it."""


class TestQueue(RedisConformance, QueueConformance):
    """What a worker pops from."""


class TestWorkers(RedisConformance, WorkerConformance):
    """Workers of this process."""


@pytest.mark.slow
@pytest.mark.long
class TestProcesses(RedisConformance, ProcessConformance):
    """Workers that are processes."""
