"""A key of a queue that holds something else: each call is refused before it has touched a job."""

import time
from collections.abc import Callable, Sequence

import pytest
import redis

from lamplighter.contracts import Message
from lamplighter.errors import QueueError
from lamplighter.queue.drivers.leasing.store import Ended, How, Lease
from lamplighter.queue.drivers.redis.store import RedisStore

pytestmark = pytest.mark.redis

PARTS = ("", ":delayed", ":reserved", ":notify")
HELD = 6  # jobs that a worker has in hand


def job(number: int) -> bytes:
    """A payload."""
    return b'{"n":%d,"attempts":0}' % number


class Scene:
    """A queue with jobs in all its places, one of whose keys is another program's from now on."""

    def __init__(self, store: RedisStore, client: "redis.Redis", prefix: str, key: str) -> None:
        self.store = store
        self.part = key
        self.leases: Sequence[Lease] = []
        self._client = client
        self._start = f"{prefix}queues:jobs"
        store.push("jobs", [Message(job(number)) for number in range(HELD)], 0)
        if key != ":reserved":
            self.leases = store.take(["jobs"], HELD, []).leases
        store.push("jobs", [Message(job(number)) for number in range(10, 14)], 0)
        store.push("jobs", [Message(job(20))], 60)
        client.zadd(f"{self._start}:delayed", {job(21): time.time() - 1})
        client.delete(self._start + key)
        client.set(self._start + key, "something else")

    def jobs(self) -> list[object]:
        """What stands under the keys that hold jobs."""
        return [self._client.dump(self._start + part) for part in PARTS[:3]]

    def refuses(self, act: Callable[[], object]) -> bool:
        """Whether the store says that the key is not its own."""
        try:
            act()
        except QueueError as error:
            return "REDIS_PREFIX" in str(error)
        return False


@pytest.fixture(params=PARTS, ids=["list", "delayed", "reserved", "notify"])
def scene(request: pytest.FixtureRequest, store: RedisStore, client: "redis.Redis", prefix: str) -> Scene:
    """A queue, for each of its keys."""
    return Scene(store, client, prefix, request.param)


@pytest.mark.parametrize("has_moved", [False, True], ids=["first look", "just looked"])
@pytest.mark.parametrize("how", [None, How.RELEASED, How.EXCUSED, How.GIVEN_BACK])
@pytest.mark.parametrize("most", [1, 4])
def test_no_job_is_begun_and_none_settled(scene: Scene, how: How | None, most: int, has_moved: bool) -> None:
    ended = [] if how is None else [Ended(lease, how) for lease in scene.leases]
    scene.store._move_at["jobs"] = time.monotonic() + (60 if has_moved else -1)
    before = scene.jobs()

    is_refused = scene.refuses(lambda: scene.store.take(["jobs"], most, ended))

    # The quickest call does not look beside the list where a job is there.
    assert is_refused or (scene.part, how, has_moved) == (":delayed", None, True)
    assert not is_refused or scene.jobs() == before


@pytest.mark.parametrize("delay", [0, 0.5, 60])
@pytest.mark.parametrize("count", [1, 3])
def test_no_job_is_pushed_of_which_its_producer_is_told_an_error(scene: Scene, delay: float, count: int) -> None:
    before = scene.jobs()

    messages = [Message(job(number)) for number in range(30, 30 + count)]
    is_refused = scene.refuses(lambda: scene.store.push("jobs", messages, delay))

    assert (scene.jobs() == before) is is_refused


def test_all_is_cleared_or_nothing(scene: Scene) -> None:
    before = scene.jobs()

    is_refused = scene.refuses(lambda: scene.store.clear("jobs"))

    assert scene.jobs() == (before if is_refused else [None, None, None])


def test_a_worker_that_starts_again_and_again_begins_none_of_the_jobs_behind_such_a_key(
    scene: Scene,
) -> None:
    before = scene.jobs()

    for _ in range(3):
        scene.store._begin_anew()  # as another process begins
        with pytest.raises(QueueError, match="REDIS_PREFIX"):
            scene.store.take(["jobs"], 1, [])

    assert scene.jobs() == before
