"""Workers on Redis that do anything in any order, over lines that break anywhere."""

from typing import Any

import pytest
import redis

from lamplighter.queue.drivers.leasing.store import JobStore
from tests.lamplighter.queue.drivers.leasing.cutting import Cutting
from tests.lamplighter.queue.drivers.leasing.fuzz import LEASE, Fuzz
from tests.lamplighter.queue.drivers.redis.conftest import Stores

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.mark.parametrize("moved", [-1, 1])
def test_each_job_runs_until_it_is_done_and_each_start_is_counted_once(
    client: "redis.Redis", make_store: Stores, moved: int
) -> None:
    settings: dict[str, Any] = client.connection_pool.connection_kwargs

    def make(line: Cutting | None) -> JobStore:
        assert line is not None
        server = {"port": line.port, "timeout": 2.0, "read_timeout": 2.0}
        return make_store(server=server, retry_after=LEASE, migration_batch_size=moved)

    Fuzz(make, (settings["host"], settings["port"])).run()
