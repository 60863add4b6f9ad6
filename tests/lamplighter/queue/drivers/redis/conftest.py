"""Queues on the Redis that CI promised, and on servers of a test's own."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore
from tests.lamplighter.queue.drivers.redis.laravel import Laravel
from tests.lamplighter.queue.drivers.redis.servers import OwnRedis, server_of

Stores = Callable[..., RedisStore]


@pytest.fixture
def client() -> Iterator["redis.Redis"]:
    """A client that looks at the keys."""
    url = os.environ.get("REDIS_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Redis, and REDIS_TEST_URL is not set")
        pytest.skip("no Redis: set REDIS_TEST_URL")
    client = redis.Redis.from_url(url)
    yield client
    client.close()


@pytest.fixture
def prefix(client: "redis.Redis") -> Iterator[str]:
    """A prefix of this test's own; what is under it is gone afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    yield prefix
    for key in client.scan_iter(match=f"{prefix}*"):
        client.delete(key)


@pytest.fixture
def make_store(client: "redis.Redis", prefix: str) -> Iterator[Stores]:
    """What makes one more store of the same server, as another process has one."""
    made: list[RedisStore] = []

    def make(*, on: "redis.Redis | None" = None, server: dict[str, Any] | None = None, **options: Any) -> RedisStore:
        store = RedisStore(server_of(on or client, prefix, **(server or {})), RedisOptions(driver="redis", **options))
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Stores) -> RedisStore:
    """A store."""
    return make_store()


@pytest.fixture
def laravel(client: "redis.Redis", prefix: str) -> Laravel:
    """A PHP application on the same queues."""
    return Laravel(client, prefix)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """A server that the test may stop."""
    server = OwnRedis(tmp_path / "redis")
    yield server
    server.end()
