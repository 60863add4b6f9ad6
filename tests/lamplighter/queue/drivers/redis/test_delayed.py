"""Delayed jobs in the sorted sets of all queues, as operators list and cancel them."""

import time

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.queue.drivers.redis import delayed
from lamplighter.queue.drivers.redis.store import RedisOptions, RedisStore
from tests.lamplighter.queue.drivers.redis.conftest import Stores
from tests.lamplighter.queue.drivers.redis.servers import server_of

pytestmark = pytest.mark.redis


def job(number: int) -> bytes:
    """A payload with an id."""
    return b'{"displayName":"letter","id":"id-%d"}' % number


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few jobs make many pages."""
    monkeypatch.setattr(delayed, "PAGE", 3)
    monkeypatch.setattr(delayed, "LOOKED_AT", 3)


def test_jobs_that_are_due_at_one_moment_are_all_listed_page_by_page(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    at = int(time.time()) + 100
    for number in range(20):  # as PHP adds them, by whole seconds
        client.zadd(f"{prefix}queues:a:delayed", {job(number): at + number // 7})

    found = store.held(1000)

    assert [job.due - at for job in found] == [n // 7 for n in range(20)]
    assert {job.job_id for job in found} == {f"id-{n}" for n in range(20)}
    assert len(store.held(5)) == 5


def test_each_of_many_jobs_is_found(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    client.zadd(f"{prefix}queues:a:delayed", {job(number): time.time() + 100 for number in range(20)})

    assert [store.cancel(f"id-{number}") for number in (0, 7, 19)] == [1, 1, 1]
    assert [store.cancel(held.id) for held in store.held(1000)] == [1] * 17
    assert store.held(1000) == []


def test_a_job_without_an_id_has_that_of_its_bytes(store: RedisStore) -> None:
    store.push("a", [Message(b"no payload"), Message(b"no payload")], 100)
    first, second = store.held(10)

    assert (first.name, first.job_id) == ("unreadable payload", "")
    assert store.cancel(first.id) == 1
    assert [held.id for held in store.held(10)] == [second.id]


def test_what_is_due_is_neither_listed_nor_cancelled(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    client.zadd(f"{prefix}queues:a:delayed", {job(1): time.time() - 1})

    assert store.held(10) == []
    assert store.cancel("id-1") == 0
    assert store.sizes("a").pending == 1


def test_keys_of_other_kinds_and_prefixes_are_left_alone(
    make_store: Stores, client: "redis.Redis", prefix: str
) -> None:
    odd = f"{prefix}*[x]?\\"
    store = make_store()
    other = RedisStore(server_of(client, odd), RedisOptions(driver="redis"))
    store.push("b:delayed", [Message(job(1))], 0)  # a list whose name ends as that of a sorted set
    store.push("a", [Message(job(2))], 100)
    other.push("a", [Message(job(3))], 100)

    listed = [[(held.queue, held.job_id) for held in each.held(10)] for each in (store, other)]
    cancelled = store.cancel("id-3"), other.cancel("id-3")
    other.close()

    assert listed == [[("a", "id-2")], [("a", "id-3")]]
    assert cancelled == (0, 1)
