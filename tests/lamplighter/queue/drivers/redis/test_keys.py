"""The keys, members and bytes of a queue, as Laravel has them, in each step of a job's life."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.store import Ended, How
from lamplighter.queue.drivers.redis.store import RedisStore
from tests.harness import wait_for
from tests.lamplighter.queue.drivers.redis.conftest import Stores

pytestmark = pytest.mark.redis
GOLDEN = Path(__file__).parents[4] / "golden"
JOB = json.loads((GOLDEN / "redis_cjson_roundtrip.json").read_text())["pushed"].encode()
VECTORS = json.loads((GOLDEN / "payloads_redis_v12.json").read_text())["vectors"]
LARAVEL_KEY = "laravel-database-queues:"


def keys(client: "redis.Redis", prefix: str) -> dict[str, Any]:
    """What is under the prefix: lists as they are, sorted sets as pairs."""
    found: dict[str, Any] = {}
    for key in client.scan_iter(match=f"{prefix}*"):
        is_list = client.type(key) == b"list"
        value = client.lrange(key, 0, -1) if is_list else client.zrange(key, 0, -1, withscores=True)
        found[key.decode().removeprefix(prefix)] = value
    return found


def started(payload: bytes, times: int) -> bytes:
    """A payload of Laravel's after so many starts, but for what cjson breaks."""
    return payload.replace(b'"attempts":0', f'"attempts":{times}'.encode())


def test_a_push_writes_the_list_and_a_note(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    store.push("default", [Message(JOB)], 0)

    assert keys(client, prefix) == {"queues:default": [JOB], "queues:default:notify": [b"1"]}


def test_many_are_pushed_in_their_order_with_a_note_each(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    payloads = [b"%d" % number for number in range(500)]

    store.push("default", [Message(payload) for payload in payloads], 0)

    assert keys(client, prefix) == {"queues:default": payloads, "queues:default:notify": [b"1"] * 500}


def test_a_delayed_job_waits_beside_the_list(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    before = time.time()
    store.push("default", [Message(JOB)], 60)
    after = time.time()

    [(key, [(member, due)])] = keys(client, prefix).items()
    assert (key, member) == ("queues:default:delayed", JOB)
    assert before + 60 <= due + 1e-6
    assert due <= after + 60.001


def test_a_start_moves_the_job_to_the_reserved_ones_with_one_more_attempt(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    store.push("default", [Message(JOB)], 0)

    [lease] = store.take(["default"], 1, []).leases

    [(key, [(member, until)])] = keys(client, prefix).items()
    assert lease.payload == JOB
    assert (key, member) == ("queues:default:reserved", started(JOB, 1))
    assert time.time() + 89 < until < time.time() + 92


def test_a_released_job_is_delayed_with_the_bytes_that_it_was_reserved_with(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    store.push("default", [Message(JOB)], 0)
    [lease] = store.take(["default"], 1, []).leases

    store.take((), 0, [Ended(lease, How.RELEASED, 30)])

    [(key, [(member, _)])] = keys(client, prefix).items()
    assert (key, member) == ("queues:default:delayed", started(JOB, 1))


def test_a_job_that_is_released_without_delay_counts_on_with_nothing_else_changed(store: RedisStore) -> None:
    store.push("default", [Message(JOB)], 0)
    ended: list[Ended] = []
    for attempt in range(12):
        [lease] = store.take(["default"], 1, ended).leases
        assert lease.payload == started(JOB, attempt)
        ended = [Ended(lease, How.RELEASED)]


def test_a_job_that_is_done_leaves_nothing(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    store.push("default", [Message(JOB)], 0)
    [lease] = store.take(["default"], 1, []).leases

    store.take((), 0, [Ended(lease, How.DELETED)])

    assert keys(client, prefix) == {}


@pytest.mark.parametrize("how", [How.EXCUSED, How.GIVEN_BACK])
def test_a_start_that_does_not_count_leaves_the_payload_as_it_was(
    store: RedisStore, client: "redis.Redis", prefix: str, how: How
) -> None:
    store.push("default", [Message(JOB), Message(b"behind")], 0)
    [lease] = store.take(["default"], 1, []).leases

    store.take((), 0, [Ended(lease, how)])

    found = keys(client, prefix)
    if how is How.GIVEN_BACK:
        assert found == {"queues:default": [JOB, b"behind"], "queues:default:notify": [b"1", b"1"]}
    else:
        assert [member for member, _ in found["queues:default:delayed"]] == [JOB]


def test_each_job_that_is_given_back_becomes_the_first_one(store: RedisStore) -> None:
    store.push("default", [Message(b"%d" % number) for number in range(5)], 0)
    leases = store.take(["default"], 3, []).leases

    store.take((), 0, [Ended(lease, How.GIVEN_BACK) for lease in reversed(leases)])

    assert [lease.payload for lease in store.take(["default"], 5, []).leases] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector.get("redis")], ids=lambda vector: str(vector["name"])
)
def test_what_laravel_has_written_is_taken_with_its_bytes(
    client: "redis.Redis", prefix: str, store: RedisStore, vector: dict[str, Any]
) -> None:
    expected = []
    for key, value in vector["redis"].items():
        name = prefix + key.removeprefix("laravel-database-")
        if value["type"] == "zset":
            for entry in value["values"]:  # written in January 2026, so that each is due
                client.zadd(name, {entry["member"].encode(): entry["score"]})
                expected.append(entry["member"].encode())
        elif value["type"] == "list":
            client.rpush(name, *[one.encode() for one in value["values"]])
            if not key.endswith(":notify"):
                expected += [one.encode() for one in value["values"]]
    queues = {key.removeprefix(LARAVEL_KEY).partition(":")[0] for key in vector["redis"]}

    leases = [lease for queue in queues for lease in store.take([queue], 100, []).leases]

    assert sorted(lease.payload for lease in leases) == sorted(expected)
    for lease in leases:
        before = json.loads(lease.payload)
        assert json.loads(lease.handle.member) == {**before, "attempts": before.get("attempts", 0) + 1}
    for queue in queues:
        assert client.llen(f"{prefix}queues:{queue}:notify") == 0
        store.take((), 0, [Ended(lease, How.DELETED) for lease in leases])
    assert keys(client, prefix) == {}


ATTEMPTS = {
    b'{"attempts":0}': b'{"attempts":1}',
    b'{"a":{"attempts":5},"attempts":9}': b'{"a":{"attempts":5},"attempts":10}',
    b'{"attempts":1,"a":{"attempts":5}}': b'{"attempts":2,"a":{"attempts":5}}',
    b'{"attempts":0,"data":["attempts",{"attempts":7}],"x":"attempts"}': (
        b'{"attempts":1,"data":["attempts",{"attempts":7}],"x":"attempts"}'
    ),
    b'{"a":"\\",\\"attempts\\":3,","attempts" : 4 , "b":"}"}': (
        b'{"a":"\\",\\"attempts\\":3,","attempts" : 5 , "b":"}"}'
    ),
    b'{"data":{"x":",\\"attempts\\":3"},"attempts":99,"delay":-5}': (
        b'{"data":{"x":",\\"attempts\\":3"},"attempts":100,"delay":-5}'
    ),
    b'{"attempts":null}': b'{"attempts":1}',
    b'{"a":1,"attempts":null,"delay":null}': b'{"a":1,"attempts":1,"delay":null}',
    b'{"x":1}': b'{"x":1,"attempts":1}',
    b" { } \n": b' { "attempts":1} \n',
    '{"x":"é😀\\u0000","attempts":0}'.encode(): '{"x":"é😀\\u0000","attempts":1}'.encode(),
    b'{"big":9007199254740993,"f":1.0,"e":[],"attempts":1}': b'{"big":9007199254740993,"f":1.0,"e":[],"attempts":2}',
    b'{"data":' + b"[" * 900 + b"]" * 900 + b',"attempts":0}': b'{"data":'
    + b"[" * 900
    + b"]" * 900
    + b',"attempts":1}',
}


@pytest.mark.parametrize("payload", ATTEMPTS)
def test_the_attempts_are_counted_in_the_text(store: RedisStore, payload: bytes) -> None:
    store.push("default", [Message(payload)], 0)

    [lease] = store.take(["default"], 1, []).leases

    assert (lease.payload, lease.handle.member) == (payload, ATTEMPTS[payload])
    json.loads(lease.handle.member)


UNREADABLE = [b"", b"1", b"{", b"\0", b"\xff\xfe", b"[1]", b'{"attempts":"3"}', b'{"attempts":1.5}', b'{"attempts":-1}']
UNREADABLE += [b'{"x":1', b'{"x":1}}', b'{"x":"', b'{"x":"\\', b'{"attempts":12345678901234567890,"delay":null}']


@pytest.mark.parametrize("payload", UNREADABLE)
def test_bytes_that_count_nothing_are_leased_and_end_all_the_same(
    store: RedisStore, client: "redis.Redis", prefix: str, payload: bytes
) -> None:
    store.push("default", [Message(payload)], 0)

    [lease] = store.take(["default"], 1, []).leases
    assert lease.payload == payload
    assert store.renew([lease]) == []
    [again] = store.take(["default"], 1, [Ended(lease, How.RELEASED)]).leases
    assert again.payload == payload
    store.take((), 0, [Ended(again, How.DELETED)])

    assert keys(client, prefix) == {}


def test_a_megabyte_that_is_no_text_passes(store: RedisStore) -> None:
    payload = bytes(range(256)) * 4096

    store.push("default", [Message(payload)], 0)

    [lease] = store.take(["default"], 1, []).leases
    assert lease.payload == payload


@pytest.mark.parametrize("payload", [b'{"x":1}', JOB, b"", b"\0"])
def test_jobs_of_the_same_bytes_are_as_many_as_were_pushed(store: RedisStore, payload: bytes) -> None:
    """Members of a sorted set are unique; none of them may replace another one."""
    store.push("default", [Message(payload)] * 40, 0)
    store.push("default", [Message(payload)] * 40, 0.1)
    taken = store.take(["default"], 40, []).leases
    assert [lease.payload for lease in taken] == [payload] * 40

    store.take((), 0, [Ended(lease, How.RELEASED, 0.1) for lease in taken])

    sizes = store.sizes("default")
    assert sizes.delayed is not None
    assert sizes.pending + sizes.delayed == 80
    ended = 0
    until = time.monotonic() + 10
    while ended < 80 and time.monotonic() < until:
        leases = store.take(["default"], 7, []).leases
        assert all(
            lease.payload.rstrip() in (payload.rstrip(), started(payload, 1), b'{"x":1,"attempts":1}')
            for lease in leases
        )
        store.take((), 0, [Ended(lease, How.DELETED) for lease in leases])
        ended += len(leases)
    assert ended == 80
    assert store.sizes("default").pending == 0


def test_the_end_of_a_lease_that_another_has_changes_nothing(store: RedisStore, make_store: Stores) -> None:
    other, bytes_without_attempts = make_store(), b"the same bytes in each lease"
    store.seconds = other.seconds = 0.1
    store.push("default", [Message(bytes_without_attempts)], 0)
    [first] = store.take(["default"], 1, []).leases
    second = ()
    while not second:
        second = tuple(other.take(["default"], 1, []).leases)  # type: ignore[assignment]

    for how in How:
        store.take((), 0, [Ended(first, how)])

    assert second[0].handle.member == first.handle.member
    assert store.renew([first]) == [first]
    assert other.renew(second) == []


def test_what_becomes_due_moves_within_some_milliseconds_under_a_steady_load(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    store.push("default", [Message(b"job %d" % number) for number in range(20_000)], 0)
    [lease] = store.take(["default"], 1, []).leases
    client.zadd(f"{prefix}queues:default:delayed", {"due": time.time() - 1})
    client.zadd(f"{prefix}queues:default:reserved", {"of one that died": time.time() - 1})

    seen = []
    began = time.monotonic()
    while client.zcard(f"{prefix}queues:default:delayed") or not lease.has_crashed:
        [lease] = store.take(["default"], 1, [Ended(lease, How.DELETED)]).leases
        seen.append(lease.payload)
        assert time.monotonic() - began < 5

    assert seen[-1] == b"of one that died"
    assert client.lrange(f"{prefix}queues:default", -1, -1) == [b"due"]


def test_what_is_given_back_is_the_next_one_though_a_worker_died_with_it(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    client.zadd(f"{prefix}queues:default:reserved", {JOB: time.time() - 1})
    store.push("default", [Message(b"other")] * 3, 0)
    [lease] = store.take(["default"], 1, []).leases
    [other] = store.take(["default"], 1, []).leases

    store.take((), 0, [Ended(lease, How.GIVEN_BACK)])

    [again] = store.take(["default"], 1, [Ended(other, How.DELETED)]).leases
    assert (again.payload, again.has_crashed) == (JOB, True)


def test_what_becomes_due_on_the_first_queue_is_taken_before_what_waits_on_the_second(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    store.push("low", [Message(b"low %d" % number) for number in range(100)], 0)
    for number in range(30):
        assert [one.payload for one in store.take(["high", "low"], 1, []).leases] == [b"low %d" % number]
        client.zadd(f"{prefix}queues:high:delayed", {f"high {number}": time.time() - 1})

        assert [one.payload for one in store.take(["high", "low"], 1, []).leases] == [b"high %d" % number]


@pytest.mark.parametrize("is_known", [True, False], ids=["just looked", "first"])
@pytest.mark.parametrize("key", [":reserved", ":notify"])
def test_a_key_of_another_kind_costs_no_job_in_the_middle_of_work(
    store: RedisStore, client: "redis.Redis", prefix: str, key: str, is_known: bool
) -> None:
    if is_known:
        store.take(["other"], 1, [])
        store._move_at["default"] = time.monotonic() + 60
    store.push("default", [Message(JOB)], 0)
    client.delete(f"{prefix}queues:default{key}")
    client.set(f"{prefix}queues:default{key}", "something else")

    with pytest.raises(QueueError, match="REDIS_PREFIX"):
        store.take(["default"], 1, [])
    client.delete(f"{prefix}queues:default{key}")

    assert [one.payload for one in store.take(["default"], 1, []).leases] == [JOB]


def test_only_those_of_many_ends_count_whose_leases_hold(store: RedisStore) -> None:
    for queue in ("first", "second"):
        store.push(queue, [Message(b"%s %d" % (queue.encode(), number)) for number in range(40)], 0)
    leases = [*store.take(["first"], 40, []).leases, *store.take(["second"], 40, []).leases]
    of_others = [replace(lease, handle=lease.handle._replace(token=lease.handle.token ^ 1)) for lease in leases[::2]]

    store.take((), 0, [Ended(lease, How.DELETED) for lease in (*of_others, *leases[1::2])])

    assert (store.sizes("first").reserved, store.sizes("second").reserved) == (20, 20)
    assert store.renew(leases[::2]) == []
    assert store.renew(leases[1::2]) == leases[1::2]


def test_thousands_of_ends_are_told_in_one_call(store: RedisStore) -> None:
    store.push("default", [Message(b"%d" % number) for number in range(9_000)], 0)
    leases = store.take(["default"], 9_000, []).leases

    store.take((), 0, [Ended(lease, How.DELETED) for lease in leases])

    assert len(leases) == 9_000
    assert (store.sizes("default").pending, store.sizes("default").reserved) == (0, 0)


def test_the_leases_that_others_have_are_told_apart_from_those_that_hold(store: RedisStore) -> None:
    store.push("default", [Message(b"%d" % number) for number in range(5)], 0)
    leases = store.take(["default"], 5, []).leases
    store.take((), 0, [Ended(leases[1], How.DELETED), Ended(leases[3], How.DELETED)])

    assert store.renew(leases) == [leases[1], leases[3]]


def test_what_is_due_moves_in_parts_of_the_size_that_was_asked_for(
    make_store: Stores, client: "redis.Redis", prefix: str
) -> None:
    store = make_store(migration_batch_size=3)
    client.zadd(f"{prefix}queues:default:delayed", {f"job {number}": 1000 + number for number in range(10)})

    [lease] = store.take(["default"], 1, []).leases

    assert lease.payload == b"job 0"
    assert client.lrange(f"{prefix}queues:default", 0, -1) == [b"job 1", b"job 2"]
    assert client.zcard(f"{prefix}queues:default:delayed") == 7


def test_the_oldest_is_when_the_first_was_pushed(store: RedisStore) -> None:
    assert store.sizes("default").oldest is None

    store.push("default", [Message(JOB), Message(b"no payload")], 0)

    assert store.sizes("default").oldest == 1795400794


@pytest.mark.parametrize("payload", UNREADABLE)
def test_what_can_not_be_read_has_no_age(store: RedisStore, payload: bytes) -> None:
    store.push("default", [Message(payload)], 0)

    assert (store.sizes("default").pending, store.sizes("default").oldest) == (1, None)


def test_clear_deletes_what_waits_what_is_delayed_and_what_workers_have(
    store: RedisStore, client: "redis.Redis", prefix: str
) -> None:
    store.push("default", [Message(b"a"), Message(b"b")], 0)
    store.push("default", [Message(b"c")], 60)
    store.push("other", [Message(b"d")], 0)
    store.take(["default"], 1, [])

    assert store.clear("default") == 3

    assert keys(client, prefix) == {"queues:other": [b"d"], "queues:other:notify": [b"1"]}


@pytest.mark.parametrize(("how", "delay"), [(How.GIVEN_BACK, 0.0), (How.EXCUSED, 60.0)])
def test_a_job_whose_worker_has_died_goes_back_to_where_that_one_has_left_it(
    make_store: Stores, client: "redis.Redis", prefix: str, how: How, delay: float
) -> None:
    store = make_store(retry_after=0.1)
    store.push("default", [Message(JOB)], 0)
    store.take(["default"], 1, [])
    wait_for(lambda: store.sizes("default").pending)
    [lease] = store.take(["default"], 1, []).leases
    began = time.time()

    store.take((), 0, [Ended(lease, how, delay)])

    found = keys(client, prefix)
    [(member, score)] = found.pop("queues:default:reserved")
    assert lease.has_crashed
    assert member == started(JOB, 1)
    assert score == 0 if how is How.GIVEN_BACK else began + 60 <= score + 1e-6
    assert found == ({"queues:default:notify": [b"1"]} if how is How.GIVEN_BACK else {})
