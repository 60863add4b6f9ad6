"""Workers that are killed again and again, and a server that is: no job is lost."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lamplighter.contracts import Message
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore
from lamplighter.queue.jobs.payload import new_id, write
from tests.harness import Project
from tests.kills import IS_LONG, Killing, kill_server, kill_workers
from tests.lamplighter.queue.drivers.redis.servers import OwnRedis, server_of

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture
def killing(tmp_path: Path, own_redis: OwnRedis) -> Iterator[Killing]:
    """An application whose queue is on a server of its own."""
    environment = {
        "QUEUE_CONNECTION": "redis",
        "REDIS_URL": f"redis://127.0.0.1:{own_redis.port}",
        "REDIS_PREFIX": "t-",
        "REDIS_QUEUE_RETRY_AFTER": "1",
        "CACHE_STORE": "file",
        "QUEUE_FAILED_DRIVER": "null",
    }
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder, environment=environment)
    client = own_redis.client()
    store = RedisStore(server_of(client, "t-"), RedisOptions(driver="redis"))

    def push(data: Sequence[dict[str, Any]]) -> None:
        store.push("default", [Message(write("probe", each, id=new_id())) for each in data], 0)

    yield Killing(project, "redis", push, lambda: client.keys("*queues:*") == [])
    project.close()
    store.close()
    client.close()


def test_workers_that_are_killed_lose_no_job(killing: Killing) -> None:
    kill_workers(killing)


def test_a_server_whose_log_is_always_written_loses_no_job(killing: Killing, own_redis: OwnRedis) -> None:
    kill_server(killing, lambda: own_redis.signal(signal.SIGKILL), own_redis.start)


@pytest.mark.skipif(not IS_LONG, reason="says how many it loses, which is seldom one: FAULTS=long")
def test_a_server_whose_log_is_written_each_second_loses_no_older_job(killing: Killing, own_redis: OwnRedis) -> None:
    def start() -> None:
        own_redis.start()
        own_redis.client().config_set("appendfsync", "everysec")

    own_redis.client().config_set("appendfsync", "everysec")
    killing.forgets = 2.0  # it may write so much later where its disk is slow

    kill_server(killing, lambda: own_redis.signal(signal.SIGKILL), start)
