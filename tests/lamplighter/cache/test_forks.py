"""Caches of a program that forks while its threads use them."""

import os
from pathlib import Path

import pytest

from tests.programs import run

BUSY = """
from pathlib import Path
from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.cache.stores.file import FileStore

kind, place = sys.argv[1:]
if kind == "redis":
    import redis
    from lamplighter.cache.stores.redis import RedisStore
    cache = Cache(RedisStore(lambda: redis.Redis.from_url(place), "test-forks-"))
else:
    cache = Cache(ArrayStore() if kind == "array" else FileStore(Path(place)))
cache.flush()
"""

THREADS = """
ended = threading.Event()

def work(number):
    while not ended.is_set():
        cache.increment("count")
        cache.put(f"key-{number}", "x" * 5000)
        cache.get(f"key-{number}")
        with cache.lock(f"lock-{number}", 5):
            pass

threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(3)]
for thread in threads:
    thread.start()
ends = []
for number in range(8):
    time.sleep(0.003)
    child = os.fork()
    if child == 0:
        value = f"child {number}"
        cache.put("child", value)
        before = cache.get("count")
        with cache.lock("lock-child", 5):
            is_right = cache.increment("count") > before and cache.get("child") == value
        sys.exit(0 if is_right else 1)
    ends.append(outcome(child))
ended.set()
for thread in threads:
    thread.join()
print(set(ends))
"""

LOCKED = """
with cache.lock("x", 30):
    child = os.fork()
    if child:
        print(outcome(child), cache.lock("x", 30).acquire())
"""

SHARED = """
lock = cache.lock("x", 30)
children = []
for name in "ab":
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"1" if lock.acquire() else b"0")
        os.read(go[0], 1)
        os._exit(lock.release())
    children.append((child, os.read(ready[0], 1), go[1]))
for child, taken, go in reversed(children):
    os.write(go, b"g")
    print(taken.decode(), outcome(child))
"""

INHERITED = """
lock = cache.lock("x")
lock.acquire()
child = os.fork()
if child == 0:
    os._exit(0 if cache.lock("x").acquire() else 1)
print(outcome(child), lock.release())
"""


@pytest.fixture(params=["array", "file", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A kind of store, and where it is."""
    if request.param != "redis":
        return request.param, str(tmp_path)
    url = os.environ.get("REDIS_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Redis, and REDIS_TEST_URL is not set")
        pytest.skip("no Redis: set REDIS_TEST_URL")
    return request.param, url


def test_children_use_a_cache_that_threads_of_their_parent_use_at_the_fork(store: tuple[str, str]) -> None:
    assert run(BUSY + THREADS, *store) == "{0}\n"


@pytest.mark.parametrize("fork", ["os.fork()", "__import__('ctypes').PyDLL(None).fork()"], ids=["python", "c"])
def test_a_child_that_leaves_the_block_gives_back_no_lock_of_its_parents(store: tuple[str, str], fork: str) -> None:
    assert run(BUSY + LOCKED.replace("os.fork()", fork), *store) == "0 False\n"


def test_children_that_share_a_lock_object_do_not_give_back_each_others(store: tuple[str, str]) -> None:
    if store[0] == "array":  # each process has a store of its own
        assert run(BUSY + SHARED, *store) == "1 1\n1 1\n"
    else:
        assert run(BUSY + SHARED, *store) == "0 0\n1 1\n"


def test_locks_in_the_memory_of_a_child_are_free() -> None:
    """Nobody there would give back what a thread of the parent holds."""
    assert run(BUSY + INHERITED, "array", "") == "0 True\n"
