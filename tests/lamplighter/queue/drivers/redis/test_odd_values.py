"""What is no proper delay or name ends in no error of a library's."""

from collections.abc import Callable

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.store import Ended, How
from lamplighter.queue.drivers.redis.store import RedisStore

pytestmark = pytest.mark.redis

HALF = "\ud800"
CALLS: list[Callable[[RedisStore], object]] = [
    lambda store: store.push(HALF, [Message(b"{}")], 0),
    lambda store: store.take(["jobs", HALF], 1, ()),
    lambda store: store.wait([HALF], 0.1),
    lambda store: store.sizes(HALF),
    lambda store: store.clear(HALF),
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("delay", [-1, -1e300, 0, True, 1e9, 1e300, 10**400, float("inf")])
def test_a_job_of_any_delay_stands_where_it_belongs(
    store: RedisStore, client: "redis.Redis", prefix: str, delay: float, count: int
) -> None:
    store.push("jobs", [Message(b"%d" % number) for number in range(count)], delay)

    is_delayed = delay > 0
    assert client.zcard(f"{prefix}queues:jobs:delayed") == count * is_delayed
    assert client.llen(f"{prefix}queues:jobs") == count * (not is_delayed)
    assert store.sizes("jobs").pending == count * (not is_delayed)


@pytest.mark.parametrize("delay", [-1, True, 1e300])
def test_a_job_is_released_by_any_delay(store: RedisStore, delay: float) -> None:
    store.push("jobs", [Message(b"{}")], 0)
    leases = store.take(["jobs"], 1, ()).leases

    store.take((), 0, [Ended(lease, How.RELEASED, delay) for lease in leases])

    sizes = store.sizes("jobs")
    assert (sizes.pending, sizes.delayed) == ((0, 1) if delay > 0 else (1, 0))


@pytest.mark.parametrize("call", CALLS, ids=["push", "take", "wait", "sizes", "clear"])
def test_a_name_that_can_not_be_sent_is_refused(store: RedisStore, call: Callable[[RedisStore], object]) -> None:
    with pytest.raises(QueueError, match=r"ud800.*surrogate"):
        call(store)
