"""A server that reads a message when nobody waits for its answer any more does nothing with it."""

import signal
import time

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.redis.store import RedisStore
from tests.lamplighter.queue.drivers.redis.conftest import Stores
from tests.lamplighter.queue.drivers.redis.servers import OwnRedis

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("delay", [0, 60])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_what_a_frozen_server_did_not_acknowledge_is_not_on_a_queue(
    make_store: Stores, own_redis: OwnRedis, is_known: bool, delay: float
) -> None:
    store = make_store(on=own_redis.client(), server={"timeout": 0.4, "read_timeout": 0.4})
    if is_known:
        store.push("before", [Message(b"1")], 0)  # so that the store knows the server's clock
    own_redis.signal(signal.SIGSTOP)
    for _ in range(3):
        with pytest.raises(Unavailable):
            store.push("default", [Message(b"late")], delay)

    own_redis.signal(signal.SIGCONT)
    store.push("default", [Message(b"again")], delay)

    sizes = store.sizes("default")
    assert (sizes.pending, sizes.delayed) == ((0, 1) if delay else (1, 0))


@pytest.mark.parametrize("seconds", [-1e6, -3.0, 0.6, 3.0, 1e6])
def test_a_server_whose_clock_was_set_takes_messages(store: RedisStore, seconds: float) -> None:
    store.push("default", [Message(b"1")], 0)
    store._offset += seconds  # as if the server's clock had jumped

    store.push("default", [Message(b"2")], 0)

    assert store.sizes("default").pending == 2
    assert abs(store._offset - (time.time() - time.monotonic())) < 2


def test_a_server_that_takes_each_message_too_late_is_unavailable(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_push_within", -1.0)

    with pytest.raises(Unavailable, match="too slowly"):
        store.push("default", [Message(b"1")], 0)

    assert store.sizes("default").pending == 0
