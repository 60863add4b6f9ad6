"""A line that breaks in the middle of a call: nothing is lost, and no start counts of a job that nobody got."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from lamplighter.queue.drivers.redis.store import RedisStore
from tests.harness import wait_for
from tests.lamplighter.queue.drivers.redis.conftest import Stores
from tests.lamplighter.queue.drivers.redis.servers import Cut

pytestmark = pytest.mark.redis
QUEUES = ("high", "low")


def job(number: int) -> bytes:
    """A payload."""
    return b'{"job":"probe","data":{"n":%d},"attempts":0}' % number


@pytest.fixture
def line(client: "redis.Redis") -> Iterator[Cut]:
    """A line to the server."""
    line = Cut(client.connection_pool.connection_kwargs["port"])
    yield line
    line.end()


@pytest.fixture
def far_store(make_store: Stores, line: Cut) -> RedisStore:
    """A store at the other end of the line."""
    store = make_store(server={"port": line.port})
    store.sizes("low")  # it is connected: what breaks is not the greeting
    return store


def lose_answers(line: Cut, count: int = 1, having: bytes = b"") -> None:
    """Break the connection in place of the next answers that have these bytes."""
    until = line.cuts + count
    line.is_last = lambda answer: line.cuts < until and having in answer


def take(store: RedisStore, most: int, ended: list[Ended], names: tuple[str, ...] = QUEUES) -> list[Lease]:
    """Ask until there is an answer."""
    for _ in range(5):
        with suppress(Unavailable):
            return list(store.take(names, most, ended).leases)
    raise AssertionError("no answer")


@pytest.mark.parametrize("losses", [1, 2, 3])
@pytest.mark.parametrize("most", [1, 3])
def test_the_next_call_gives_out_what_a_lost_one_has_begun(
    store: RedisStore, far_store: RedisStore, line: Cut, most: int, losses: int
) -> None:
    store.push("low", [Message(job(number)) for number in range(4)], 0)
    lose_answers(line, losses, having=b"probe")

    leases = take(far_store, most, [])

    assert line.cuts == losses
    assert sorted(lease.payload for lease in leases) == [job(number) for number in range(most)]
    assert sorted(lease.handle.member for lease in leases) == [
        job(number).replace(b'"attempts":0', b'"attempts":1') for number in range(most)
    ]
    assert far_store.renew(leases) == []
    assert store.sizes("low").reserved == most


@pytest.mark.parametrize("payload", [b"", b"\0no text", b'{"x":1}', b'{"attempts":0,"n":"twice"}'])
def test_what_a_lost_call_has_begun_has_its_bytes(
    store: RedisStore, far_store: RedisStore, line: Cut, payload: bytes
) -> None:
    store.push("low", [Message(payload)] * 2, 0)
    others = store.take(["low"], 1, [])
    lose_answers(line)

    [lease] = take(far_store, 1, [])

    assert line.cuts == 1
    assert lease.payload.rstrip() in (payload, b'{"x":1,"attempts":0}')
    assert far_store.renew([lease]) == store.renew(others.leases) == []


def test_an_end_that_was_told_in_a_lost_call_is_told_once(store: RedisStore, far_store: RedisStore, line: Cut) -> None:
    same = b"jobs of the same bytes"
    store.push("low", [Message(same)] * 3, 0)
    leases = take(far_store, 1, [])
    for left in (2, 1, 0):
        lose_answers(line)
        ended = [Ended(lease, How.DELETED) for lease in leases]
        leases = take(far_store, 1, ended)
        sizes = store.sizes("low")
        assert sizes.pending + sizes.reserved == left
    assert leases == []


@pytest.mark.parametrize("how", How)
def test_no_end_is_lost_or_counted_twice(store: RedisStore, far_store: RedisStore, line: Cut, how: How) -> None:
    store.push("low", [Message(job(1))], 0)
    [lease] = take(far_store, 1, [])
    lose_answers(line)

    leases = take(far_store, 1, [Ended(lease, how, 0.0)])

    assert line.cuts == 1
    if how is How.DELETED:
        assert leases == []
        assert store.sizes("low").reserved == 0
    else:
        [again] = leases
        assert json.loads(again.payload)["attempts"] == (1 if how is How.RELEASED else 0)


def test_a_job_of_an_earlier_queue_does_not_hide_what_was_begun(
    store: RedisStore, far_store: RedisStore, line: Cut
) -> None:
    store.push("low", [Message(job(1))], 0)
    lose_answers(line)
    with pytest.raises(Unavailable):
        far_store.take(QUEUES, 1, [])
    store.push("high", [Message(job(2))], 0)

    first, second = take(far_store, 1, []), take(far_store, 1, [])

    assert [lease.payload for lease in first + second] == [job(1), job(2)]


@pytest.mark.parametrize("ends", ["the worker closes", "no queue is to be taken from"])
def test_what_nobody_may_run_is_given_back_uncounted(
    store: RedisStore, far_store: RedisStore, line: Cut, ends: str
) -> None:
    store.push("low", [Message(job(1))], 0)
    lose_answers(line)
    with pytest.raises(Unavailable):
        far_store.take(QUEUES, 1, [])
    assert store.sizes("low").reserved == 1

    if ends == "the worker closes":
        far_store.close()
    else:
        far_store.take((), 0, [])

    [lease] = store.take(QUEUES, 1, []).leases
    assert lease.payload == job(1)


def test_a_call_that_never_arrived_is_made_again(
    store: RedisStore, far_store: RedisStore, line: Cut, client: "redis.Redis"
) -> None:
    store.push("low", [Message(job(1))], 0)
    [lease] = take(far_store, 1, [])
    store.push("low", [Message(job(2))], 0)
    lose_answers(line)
    client.client_pause(300)  # the server takes up nothing, and the connection ends before it does

    line.cut()
    leases = take(far_store, 1, [Ended(lease, How.DELETED)])

    assert [one.payload for one in leases] == [job(2)]


def test_a_renewal_without_an_answer_is_made_again(store: RedisStore, far_store: RedisStore, line: Cut) -> None:
    store.push("low", [Message(job(1))], 0)
    leases = take(far_store, 1, [])
    lose_answers(line)

    with pytest.raises(Unavailable):
        far_store.renew(leases)

    assert far_store.renew(leases) == []


def test_a_push_without_an_answer_says_so_and_the_job_is_there_once(
    store: RedisStore, far_store: RedisStore, line: Cut
) -> None:
    far_store.push("high", [Message(job(0))], 0)  # the first of a process asks for the time
    lose_answers(line)

    with pytest.raises(Unavailable, match="does not answer"):
        far_store.push("low", [Message(job(1))], 0)

    wait_for(lambda: store.sizes("low").pending == 1)


def test_a_wait_whose_line_breaks_says_so(far_store: RedisStore, line: Cut) -> None:
    lose_answers(line)

    with pytest.raises(Unavailable):
        far_store.wait(["low"], 0.1)


def test_a_lost_answer_does_not_hide_that_a_worker_has_died_with_the_job(
    make_store: Stores, far_store: RedisStore, line: Cut
) -> None:
    dying = make_store(retry_after=0.1)
    dying.push("low", [Message(job(1))], 0)
    [before] = dying.take(QUEUES, 1, []).leases
    wait_for(lambda: dying.sizes("low").pending)
    lose_answers(line, having=b"probe")

    [lease] = take(far_store, 1, [])

    assert (before.has_crashed, lease.has_crashed) == (False, True)
    assert lease.payload == job(1).replace(b'"attempts":0', b'"attempts":1')
    assert far_store.renew([lease]) == []
    far_store.take((), 0, [Ended(lease, How.DELETED)])
    assert far_store.sizes("low").reserved == 0
