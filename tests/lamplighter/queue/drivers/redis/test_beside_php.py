"""PHP's workers and ours on one queue."""

import json
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import Ended, How
from lamplighter.queue.drivers.redis.store import RedisStore
from tests.harness import wait_for
from tests.lamplighter.queue.drivers.redis.conftest import Stores
from tests.lamplighter.queue.drivers.redis.laravel import Laravel

pytestmark = pytest.mark.redis
GOLDEN = json.loads((Path(__file__).parents[4] / "golden/redis_cjson_roundtrip.json").read_text())
JOB = GOLDEN["pushed"].encode()


def pop_of_php(laravel: Laravel) -> tuple[bytes, bytes]:
    """The next job that PHP gets, as soon as there is one."""
    popped: list[tuple[bytes, bytes]] = []

    def has_one() -> bool:
        found = laravel.pop("default")
        popped.extend([] if found is None else [found])
        return bool(popped)

    wait_for(has_one)
    return popped[0]


def test_our_imitation_of_php_writes_what_laravel_wrote(laravel: Laravel) -> None:
    laravel.push("default", JOB)

    popped = laravel.pop("default")

    assert popped is not None
    # Lua's order of keys is as its hash tables happen to be.
    assert json.loads(popped[1]) == json.loads(GOLDEN["reserved_after_pop"])


def test_we_count_on_where_php_has_released(store: RedisStore, laravel: Laravel) -> None:
    laravel.push("default", JOB)
    popped = laravel.pop("default")
    assert popped is not None
    laravel.release("default", popped[1], 0)

    [lease] = store.take(["default"], 1, []).leases

    assert lease.payload == popped[1]
    assert json.loads(lease.handle.member)["attempts"] == 2


def test_php_counts_on_where_we_have_released(store: RedisStore, laravel: Laravel) -> None:
    store.push("default", [Message(JOB)], 0)
    for _ in range(2):
        [lease] = store.take(["default"], 1, []).leases
        store.take((), 0, [Ended(lease, How.RELEASED)])

    popped = pop_of_php(laravel)

    assert laravel.attempts(popped[0]) == 3
    # Nothing was lost before PHP's own scripts had it.
    assert json.loads(popped[0])["data"] == json.loads(JOB)["data"]


def test_a_job_in_our_hand_is_not_php_s(store: RedisStore, laravel: Laravel) -> None:
    store.push("default", [Message(JOB)], 0)
    [lease] = store.take(["default"], 1, []).leases

    assert laravel.pop("default") is None
    assert store.renew([lease]) == []
    assert laravel.pop("default") is None


def test_php_gets_a_job_whose_lease_has_run_out(make_store: Stores, laravel: Laravel) -> None:
    store = make_store(retry_after=0.1)
    store.push("default", [Message(JOB)], 0)
    [lease] = store.take(["default"], 1, []).leases

    popped = pop_of_php(laravel)
    store.take((), 0, [Ended(lease, How.DELETED)])

    assert laravel.attempts(popped[0]) == 2
    assert store.renew([lease]) == [lease]
    assert store.sizes("default").reserved == 1


def test_we_get_a_job_of_php_s_whose_worker_has_died(store: RedisStore, client: "redis.Redis", prefix: str) -> None:
    dying = Laravel(client, prefix, retry_after=0)
    dying.push("default", JOB)
    popped = dying.pop("default")

    [lease] = store.take(["default"], 1, []).leases

    assert popped is not None
    assert lease.payload == popped[1]
    dying.delete("default", popped[1])  # too late: the member is another one by now
    assert store.renew([lease]) == []


def test_a_delay_is_kept_by_whoever_takes_the_job(store: RedisStore, laravel: Laravel) -> None:
    laravel.later("default", b'{"attempts":0,"by":"php"}', 60)
    store.push("default", [Message(b'{"attempts":0,"by":"us"}')], 60)

    assert laravel.pop("default") is None
    taken = store.take(["default"], 2, [])

    assert taken.leases == ()
    assert taken.next_due is not None
    assert 58 < taken.next_due <= 60


def test_there_is_a_note_for_each_job_whoever_pushes_and_pops(
    store: RedisStore, laravel: Laravel, client: "redis.Redis", prefix: str
) -> None:
    notes = f"{prefix}queues:default:notify"
    for number in range(4):
        laravel.push("default", b'{"attempts":0,"n":%d}' % number)
        store.push("default", [Message(b'{"attempts":0,"m":%d}' % number)], 0)

    store.take(["default"], 3, [])
    laravel.pop("default")
    assert client.llen(notes) == 4
    assert store.wait(["default"], 5)
    store.take(["default"], 1, [])

    assert client.llen(notes) == client.llen(f"{prefix}queues:default") == 3


def test_a_worker_of_php_s_and_one_of_ours_run_each_job_once(make_store: Stores, laravel: Laravel) -> None:
    queue = LeasingQueue("redis", make_store(), default_queue="default")
    queue.open(["default"], SimpleQueue())
    for number in range(200):
        payload = b'{"n":%d,"attempts":0}' % number
        if number % 2:
            queue.push(Message(payload), queue="default")
        else:
            laravel.push("default", payload)
    ours: list[bytes] = []
    theirs: list[bytes] = []

    def work_as_php() -> None:
        while (popped := laravel.pop("default")) is not None:
            theirs.append(popped[0])
            laravel.delete("default", popped[1])

    php = threading.Thread(target=work_as_php)
    php.start()
    while (delivery := queue.pop(["default"], 0.2)) is not None:
        ours.append(delivery.payload)
        delivery.delete()
    php.join(20)

    assert queue.close(timeout=2)
    assert sorted(json.loads(payload)["n"] for payload in ours + theirs) == list(range(200))
    sizes = queue.sizes("default")
    assert (sizes.pending, sizes.reserved) == (0, 0)
