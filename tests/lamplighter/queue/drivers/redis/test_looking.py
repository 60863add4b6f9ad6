"""Whose answers are looked for, and that nothing depends on it."""

import socket
import threading

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How
from lamplighter.queue.drivers.redis.calls import ALONE
from lamplighter.queue.drivers.redis.line import Line
from lamplighter.queue.drivers.redis.store import RedisStore
from lamplighter.support.looking import TRIES, Looking
from tests.lamplighter.queue.drivers.redis.conftest import Stores
from tests.lamplighter.queue.drivers.redis.servers import OwnRedis

MANY = ALONE + 2 * TRIES + 10


class Connected:
    """A connection of the client's, as far as its socket goes."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self.socket_timeout = 5.0


def test_each_connecting_anew_has_another_socket_looked_at() -> None:
    connection = Connected()
    line = Line(connection)
    before = line.is_quiet()
    first, second = socket.socketpair(), socket.socketpair()

    connection._sock = first[0]
    is_quiet = line.is_quiet()
    first[1].close()
    has_ended = not line.is_quiet()
    connection._sock = second[0]
    is_quiet_again = line.is_quiet()

    assert (before, is_quiet, has_ended, is_quiet_again) == (False, True, True, True)
    for one in (*first, *second):
        one.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that have looked."""
    seen: list[int] = []
    look = Looking.look

    def noted(looking: Looking) -> None:
        seen.append(threading.get_ident())
        look(looking)

    monkeypatch.setattr(Looking, "look", noted)
    return seen


@pytest.mark.redis
def test_one_thread_looks_for_the_answers_to_its_pushes(store: RedisStore, looks: list[int]) -> None:
    for number in range(MANY):
        store.push("default", [Message(b"%d" % number)], 0)

    assert len(looks) >= MANY - ALONE - 1
    assert store.sizes("default").pending == MANY


@pytest.mark.redis
def test_threads_in_turn_do_not_look(store: RedisStore, looks: list[int]) -> None:
    turn = threading.Barrier(2)

    def push() -> None:
        for number in range(MANY):
            turn.wait(10)
            store.push("default", [Message(b"%d" % number)], 0)

    other = threading.Thread(target=push)
    other.start()
    push()
    other.join(30)

    assert store.sizes("default").pending == 2 * MANY
    # Two calls may come in a row, of the end of one turn and the beginning of the next; so many never do.
    assert looks == []


@pytest.mark.redis
@pytest.mark.parametrize(("slots", "has_looked"), [(1, True), (2, False)])
def test_only_a_worker_with_one_slot_looks(store: RedisStore, looks: list[int], slots: int, has_looked: bool) -> None:
    store.push("default", [Message(b"%d" % number) for number in range(20)], 0)

    ended: list[Ended] = []
    for _ in range(10):
        ended = [Ended(lease, How.DELETED) for lease in store.take(["default"], slots, ended).leases]

    assert bool(looks) == has_looked


@pytest.mark.redis
@pytest.mark.slow
def test_answers_are_looked_for_again_after_an_outage(make_store: Stores, own_redis: OwnRedis) -> None:
    store = make_store(on=own_redis.client())
    for number in range(MANY):
        store.push("default", [Message(b"%d" % number)], 0)
    [lease] = store.take(["default"], 1, []).leases

    own_redis.signal(9)
    for _ in range(3):
        with pytest.raises(Unavailable):
            store.push("default", [Message(b"lost")], 0)
        with pytest.raises(Unavailable):
            store.take(["default"], 1, [Ended(lease, How.DELETED)])
    own_redis.start()
    for number in range(MANY):
        store.push("default", [Message(b"%d" % number)], 0)

    [again] = store.take(["default"], 1, [Ended(lease, How.DELETED)]).leases
    assert again.payload == b"1"
    assert store.sizes("default").pending == 2 * MANY - 2


@pytest.mark.redis
def test_an_answer_that_comes_after_the_looks_is_read(client: "redis.Redis", store: RedisStore) -> None:
    for number in range(MANY):
        store.push("default", [Message(b"%d" % number)], 0)
    client.client_pause(100)

    for number in range(MANY):
        store.push("default", [Message(b"%d" % number)], 0)

    assert store.sizes("default").pending == 2 * MANY
