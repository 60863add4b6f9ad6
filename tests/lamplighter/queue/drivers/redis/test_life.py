"""Each step in the life of a job leaves what Laravel has left: the same keys, members, attempts and scores.

Laravel's script decodes a payload and encodes it again, which moves its keys about; what it leaves is compared by its
values. Ours changes nothing of the text but the attempts, which is compared byte by byte.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from lamplighter.queue.drivers.redis.store import RedisStore
from tests.lamplighter.queue.drivers.redis.conftest import Stores

pytestmark = pytest.mark.redis
FILE = json.loads((Path(__file__).parents[4] / "golden/payloads_redis_v12.json").read_text())
LIFE = FILE["life_of_a_redis_job"]
BEGAN = FILE["meta"]["unix"]
LARAVELS = "laravel-database-"
PUSHED: str = LIFE["after_push"][f"{LARAVELS}queues:default"][0]


def with_attempts(payload: str, count: int) -> str:
    """The text of a payload after so many starts."""
    assert payload.count('"attempts":0') == 1
    return payload.replace('"attempts":0', f'"attempts":{count}')


def now(client: "redis.Redis") -> float:
    """The server's clock."""
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


def keys(client: "redis.Redis", prefix: str) -> dict[str, Any]:
    """All that is there, as the golden file writes it."""
    found: dict[str, Any] = {}
    for key in client.scan_iter(match=f"{prefix}*"):
        name = LARAVELS + key.decode().removeprefix(prefix)
        if client.type(key) == b"list":
            values: Any = client.lrange(key, 0, -1)
            found[name] = [one.decode() for one in values]
        else:
            scored: Any = client.zrange(key, 0, -1, withscores=True)
            found[name] = {member.decode(): score for member, score in scored}
    return found


def move_clock(client: "redis.Redis", key: str, seconds: float) -> None:
    """Let so many seconds pass for what a sorted set has."""
    members: Any = client.zrange(key, 0, -1)
    for member in members:
        client.zincrby(key, -seconds, member)


def check(found: dict[str, Any], step: str, *, text: str, since: float, at: float, golden_at: int) -> None:
    """One sorted set with one member, as Laravel's.

    Args:
        text: the member, byte by byte.
        since: the server's clock before the step, and `at` after it; that of Laravel's was `golden_at`.
    """
    [(golden_key, golden)] = LIFE[step].items()
    [(golden_member, golden_score)] = golden.items()
    assert list(found) == [golden_key]
    [(member, score)] = found[golden_key].items()
    assert member == text
    assert json.loads(member) == json.loads(golden_member)
    # Laravel cuts its clock to a whole second, so that it may be early; ours is up to a second later than it asks for.
    seconds = golden_score - golden_at
    assert since + seconds <= score <= at + seconds + 2


def take(store: RedisStore) -> Lease:
    """The only job there is."""
    [lease] = store.take(["default"], 2, []).leases
    return lease


def test_each_step_leaves_what_laravel_leaves(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    store.push("default", [Message(PUSHED.encode())], 0)
    assert keys(client, prefix) == LIFE["after_push"]

    since = now(client)
    lease = take(store)
    once = with_attempts(PUSHED, LIFE["pop_attempts"])
    assert lease.payload.decode() == PUSHED == LIFE["raw_body"]
    check(keys(client, prefix), "after_pop", text=once, since=since, at=now(client), golden_at=BEGAN)
    assert lease.handle.member.decode() == once
    assert json.loads(once) == json.loads(LIFE["reserved_job"])
    sizes = store.sizes("default")
    told = {"pending": sizes.pending, "delayed": sizes.delayed, "reserved": sizes.reserved}
    assert {"size": sum(value or 0 for value in told.values()), **told} == LIFE["size"]

    since = now(client)
    store.take((), 0, [Ended(lease, How.RELEASED, 15)])
    check(keys(client, prefix), "after_release_15", text=once, since=since, at=now(client), golden_at=BEGAN)

    assert store.take(["default"], 1, []).leases == ()
    move_clock(client, f"{prefix}queues:default:delayed", 16)
    since = now(client)
    again = take(store)
    twice = with_attempts(PUSHED, LIFE["pop2_attempts"])
    assert again.payload.decode() == once
    check(keys(client, prefix), "after_16s_pop", text=twice, since=since, at=now(client), golden_at=BEGAN + 16)

    store.take((), 0, [Ended(again, How.DELETED)])
    assert list(keys(client, prefix)) == LIFE["after_delete"]


def test_a_job_whose_worker_has_died_leaves_what_it_leaves_in_laravel(
    make_store: Stores, client: "redis.Redis", prefix: str
) -> None:
    [golden] = LIFE["reserved_expired_91s_pop"][f"{LARAVELS}queues:default:reserved"]
    values = json.loads(golden)
    pushed = json.dumps({key: values[key] for key in json.loads(PUSHED)} | {"attempts": 0}, separators=(",", ":"))
    first, second = make_store(), make_store()
    first.push("default", [Message(pushed.encode())], 0)
    take(first)
    assert second.take(["default"], 1, []).leases == ()
    move_clock(client, f"{prefix}queues:default:reserved", 92)  # a lease of ours may last two seconds longer

    since = now(client)
    lease = take(second)

    text = with_attempts(pushed, LIFE["expired_attempts"])
    assert lease.payload.decode() == with_attempts(pushed, 1)
    found = keys(client, prefix)
    check(found, "reserved_expired_91s_pop", text=text, since=since, at=now(client), golden_at=BEGAN + 91)
