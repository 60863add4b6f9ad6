"""Every store, through the same cache."""

import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from lamplighter.cache.keys import LOCK
from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.cache.stores.file import FileStore
from lamplighter.cache.stores.null import NullStore
from lamplighter.contracts import Store
from lamplighter.errors import CacheError, CacheUnavailable, ConfigError, LockTimeout
from lamplighter.queue.guard.restart import KEY, RestartSignal

if TYPE_CHECKING:
    import redis

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/queue_restart_cache.json").read_text())["cases"]


TOO_LONG = f"9999999999i:{'9' * 5000};"
TOO_DEEP = "9999999999json:" + "[" * 200_000


def redis_client(database: int = 0) -> "redis.Redis":
    """A client of the Redis that CI promised; in its URL may stand another database."""
    url = os.environ.get("REDIS_TEST_URL")
    if not url:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a Redis, and REDIS_TEST_URL is not set")
        pytest.skip("no Redis: set REDIS_TEST_URL")
    import redis

    return redis.Redis.from_url(urlsplit(url)._replace(path="").geturl(), db=database)


def redis_store(prefix: str, *, lock_database: int | None = None) -> Store:
    """A store on the Redis that CI promised."""
    redis_client()
    from lamplighter.cache.stores.redis import RedisStore

    return RedisStore(redis_client, prefix, None if lock_database is None else partial(redis_client, lock_database))


@pytest.fixture(params=["array", "file", pytest.param("redis", marks=pytest.mark.redis)])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    """An empty cache."""
    if request.param == "redis":
        cache = Cache(redis_store("test-[x]-"))
    else:
        cache = Cache(ArrayStore() if request.param == "array" else FileStore(tmp_path))
    cache.flush()
    yield cache
    cache.flush()


@pytest.mark.parametrize(
    "value",
    [
        1,
        0,
        -5,
        2**62,
        "text",
        "ünï 😀",
        "half \ud83d",
        "i:5;",
        "a\r\nb",
        "",
        True,
        False,
        1.5,
        [1, {"a": None}],
        {"k": "v"},
    ],
)
def test_what_is_put_is_got(cache: Cache, value: object) -> None:
    cache.forever("key", value)

    assert cache.get("key") == value
    assert type(cache.get("key")) is type(value)


def test_a_miss_is_none_or_the_default(cache: Cache) -> None:
    assert (cache.get("nothing"), cache.get("nothing", 7), cache.has("nothing")) == (None, 7, False)


def test_a_value_ends_with_its_time(cache: Cache) -> None:
    cache.put("key", 1, 1)
    until = time.monotonic() + 4

    while cache.has("key") and time.monotonic() < until:
        time.sleep(0.05)

    assert not cache.has("key")


def test_no_time_forgets(cache: Cache) -> None:
    cache.forever("key", 1)

    cache.put("key", 2, 0)

    assert not cache.has("key")
    assert not cache.add("key", 2, 0)


@pytest.mark.parametrize("kind", ["array", "file"])
@pytest.mark.parametrize(
    ("now", "seconds"), [(1000.0, 1), (1000.9, 1), (1000.1, 0.3), (1000.999, 0.0001), (1000.5, 60)]
)
def test_a_value_and_a_lock_live_as_long_as_was_asked(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: float, seconds: float
) -> None:
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    cache = Cache(ArrayStore() if kind == "array" else FileStore(tmp_path))
    cache.put("key", 1, seconds)
    cache.lock("key", seconds).acquire()

    clock[0] = math.nextafter(now + seconds, 0)

    assert cache.has("key")
    assert not cache.lock("key", seconds).acquire()
    clock[0] = now + seconds + 1
    assert not cache.has("key")
    assert cache.lock("key", seconds).acquire()


@pytest.mark.parametrize(
    ("seconds", "milliseconds"), [(1, 1000), (0.0001, 1), (1.0004, 1001), (0.3, 300), (2.9999, 3000)]
)
def test_milliseconds_on_redis_are_rounded_up(seconds: float, milliseconds: int) -> None:
    redis = pytest.importorskip("redis")
    from lamplighter.cache.stores.redis import RedisStore

    told: list[object] = []

    class Recording(redis.Redis):  # type: ignore[misc, name-defined]
        """A client that only tells what it would have sent."""

        def execute_command(self, *words: object, **options: object) -> object:
            told.append(words[words.index("PX") + 1])
            return True

    cache = Cache(RedisStore(Recording, "x-", partial(Recording, db=1)))

    cache.put("key", 1, seconds)
    cache.add("key", 1, seconds)
    cache.lock("key", seconds).acquire()

    assert told == [milliseconds] * 3


def test_a_time_without_an_end_is_for_ever(cache: Cache) -> None:
    cache.put("key", 1, math.inf)

    assert cache.get("key") == 1
    assert cache.lock("door", math.inf).acquire()


def test_a_time_that_is_no_number_is_refused(cache: Cache) -> None:
    for refused in (cache.put, cache.add):
        with pytest.raises(CacheError, match="'key' for nan seconds"):
            refused("key", 1, math.nan)


@pytest.mark.parametrize("seconds", [-1, -0.001, -math.inf])
def test_a_lock_that_has_ended_before_it_begins_is_refused(cache: Cache, seconds: float) -> None:
    with pytest.raises(CacheError, match="'door' can't end by itself"):
        cache.lock("door", seconds)


@pytest.mark.parametrize("kind", ["array", "file"])
def test_what_has_ended_is_not_there_to_be_forgotten(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    cache = Cache(ArrayStore() if kind == "array" else FileStore(tmp_path))
    cache.put("key", 1, 1)

    clock[0] += 1

    assert not cache.forget("key")


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: "a"}, {"a": (1,)}, {1, 2}, b"bytes", object(), math.nan, [math.inf], Path("x")],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_something_else_is_refused(cache: Cache, value: object) -> None:
    for refused in (cache.forever, cache.add):
        with pytest.raises(CacheError, match=f"can't keep a {type(value).__name__} under 'key'"):
            refused("key", value)

    assert not cache.has("key")


def test_what_was_got_is_nobody_elses(cache: Cache) -> None:
    kept: dict[str, list[int]] = {"a": [1]}
    cache.forever("key", kept)
    kept["a"].append(2)
    cache.get("key")["a"].append(3)

    assert cache.get("key") == {"a": [1]}


def test_only_the_first_adds(cache: Cache) -> None:
    assert [cache.add("key", number, 60) for number in range(3)] == [True, False, False]
    assert cache.get("key") == 0


def test_increments_of_many_threads_are_all_counted(cache: Cache) -> None:
    threads = [threading.Thread(target=lambda: [cache.increment("n") for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cache.increment("n", 5) == 105


def test_forget_tells_whether_there_was_something(cache: Cache) -> None:
    cache.forever("key", 1)

    assert (cache.forget("key"), cache.forget("key")) == (True, False)


def test_a_lock_has_one_owner(cache: Cache) -> None:
    mine, theirs = cache.lock("door", 60), cache.lock("door", 60)

    assert (mine.acquire(), theirs.acquire(), theirs.release(), mine.release(), theirs.acquire()) == (
        True,
        False,
        False,
        True,
        True,
    )


def test_a_lock_and_a_value_may_have_one_name(cache: Cache) -> None:
    lock = cache.lock("report", 60)
    lock.acquire()

    assert cache.remember("report", 60, lambda: "made") == "made"
    assert lock.release()
    assert cache.lock("report", 60).acquire()
    assert cache.get("report") == "made"
    assert not cache.add("report", "again", 60)
    assert cache.forget("report")
    assert not cache.lock("report", 60).acquire()


@pytest.mark.parametrize("name", ["report", "lock:report", "lock:lock:report", "\0report"])
def test_a_value_shares_no_key_with_a_lock_whatever_their_names(cache: Cache, name: str) -> None:
    locks = [cache.lock(other, 60) for other in ("report", "lock:report", "\0report")]
    cache.forever(name, "made")

    assert [lock.acquire() for lock in locks] == [True, True, True]
    assert cache.get(name) == "made"
    assert cache.forget(name)
    assert [lock.release() for lock in locks] == [True, True, True]


def test_no_value_is_kept_where_locks_are(cache: Cache) -> None:
    with pytest.raises(CacheError, match="begin with"):
        cache.put(LOCK + "report", 1)


HALF = "\udc80"


@pytest.mark.parametrize(
    "use",
    [
        lambda cache: cache.get(HALF),
        lambda cache: cache.has(HALF),
        lambda cache: cache.put(HALF, 1),
        lambda cache: cache.put(HALF, 1, 0),
        lambda cache: cache.add(HALF, 1),
        lambda cache: cache.forever(HALF, 1),
        lambda cache: cache.remember(HALF, 1, int),
        lambda cache: cache.increment(HALF),
        lambda cache: cache.forget(HALF),
        lambda cache: cache.lock(HALF),
        lambda cache: cache.lock("door", 60, HALF),
    ],
)
def test_a_key_that_is_no_utf8_is_refused_by_its_name(cache: Cache, use: Callable[[Cache], object]) -> None:
    with pytest.raises(CacheError, match=r"\\udc80"):
        use(cache)


@pytest.mark.redis
def test_a_lock_of_ours_is_one_for_php_where_locks_have_their_database() -> None:
    store = redis_store("test-php-", lock_database=2)
    lock = Cache(store).lock("door", 60, owner="0123456789abcdef")

    assert lock.acquire()
    # Laravel's RedisLock: SET prefix+name owner EX seconds NX, and a release where the owner is the same.
    assert redis_client(2).get("test-php-door") == b"0123456789abcdef"
    assert 0 < redis_client(2).ttl("test-php-door") <= 60
    assert redis_client(0).get("test-php-door") is None
    assert lock.release()
    assert redis_client(2).get("test-php-door") is None


@pytest.mark.redis
@pytest.mark.parametrize("lock_database", [2, None])
def test_a_lock_of_php_is_one_for_us(lock_database: int | None) -> None:
    cache = Cache(redis_store("test-php-", lock_database=lock_database))
    php = redis_client(lock_database or 0)
    php.set("test-php-door", "aB3dE6gH9jK2mN5p", ex=60, nx=True)

    taken = [cache.lock("door").acquire(), cache.lock("door", 60).acquire()]

    assert taken == [False, False]
    php.delete("test-php-door")
    assert cache.lock("door", 60).acquire()
    cache.flush()


@pytest.mark.redis
@pytest.mark.parametrize(
    "value", ["5", "1.5", 's:4:"made";', "b:1;", '"made"', "[]", "true", "null", "a:0:{}", "\x00\x01"]
)
def test_a_value_of_php_is_no_lock(value: str) -> None:
    cache = Cache(redis_store("test-php-"))
    redis_client().set("test-php-door", value, px=5000)

    assert cache.lock("door", 60).acquire()
    cache.flush()


@pytest.mark.redis
def test_what_is_no_text_on_redis_is_no_lock() -> None:
    cache = Cache(redis_store("test-php-"))
    redis_client().rpush("test-php-door", "item")

    assert cache.lock("door", 60).acquire()
    cache.flush()


@pytest.mark.redis
def test_flush_lets_go_of_the_locks_in_their_database() -> None:
    cache = Cache(redis_store("test-php-", lock_database=2))
    cache.lock("door", 60).acquire()
    cache.forever("key", 1)

    cache.flush()

    assert cache.lock("door", 60).acquire()
    assert not cache.has("key")
    cache.flush()


@pytest.mark.redis
@pytest.mark.parametrize(
    ("value", "kept"), [(5, b"5"), (True, b"b:1;"), ("made", b's:4:"made";'), ("5", b's:1:"5";'), ([1], b"[1]")]
)
def test_php_reads_our_numbers_words_and_texts_on_redis(value: object, kept: bytes) -> None:
    Cache(redis_store("test-php-")).put("key", value, 5)

    assert redis_client().get("test-php-key") == kept


def test_waiting_for_a_lock_has_an_end(cache: Cache) -> None:
    cache.lock("door", 60).acquire()

    with pytest.raises(LockTimeout, match="door"):
        cache.lock("door", 60).block(0.1)


def test_what_is_no_number_is_not_incremented(cache: Cache) -> None:
    cache.forever("key", "text")

    with pytest.raises(CacheError):
        cache.increment("key")

    assert cache.get("key") == "text"


def test_the_null_store_keeps_nothing() -> None:
    cache = Cache(NullStore())

    said = (cache.put("key", 1), cache.add("key", 1), cache.increment("key", 3), cache.lock("key").acquire())

    assert said == (True, True, 3, True)
    assert cache.get("key") is None


def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = Cache(FileStore(tmp_path / "file/cache"))
    uses: list[Callable[[], Any]] = [
        lambda: cache.get("key"),
        lambda: cache.put("key", 1, 60),
        lambda: cache.add("key", 1, 60),
        lambda: cache.increment("key"),
        lambda: cache.forget("key"),
        lambda: cache.flush(),
        lambda: cache.lock("key", 60).acquire(),
    ]

    for use in uses:
        with pytest.raises(CacheUnavailable, match=r"file/cache can't be used: Not a directory"):
            use()


def test_a_process_that_stands_still_with_the_lock_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lamplighter.cache.stores.file.LOCK_WAIT", 0.05)
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        with pytest.raises(CacheUnavailable, match="another process has held its lock"):
            Cache(FileStore(tmp_path)).add("key", 1, 60)


def test_flush_leaves_what_is_no_value_of_ours(tmp_path: Path) -> None:
    cache = Cache(FileStore(tmp_path))
    (tmp_path / "ab/cd").mkdir(parents=True)
    for name in ("notes.txt", "ab/cd/notes.txt"):
        (tmp_path / name).write_text("precious")
    cache.forever("key", 1)

    cache.flush()

    assert cache.get("key") is None
    assert [(tmp_path / name).is_file() for name in ("notes.txt", "ab/cd/notes.txt")] == [True, True]


def test_flush_leaves_what_others_keep(tmp_path: Path) -> None:
    ours, theirs = Cache(FileStore(tmp_path / "a")), Cache(FileStore(tmp_path / "b"))
    theirs.forever("key", 1)

    ours.flush()

    assert theirs.get("key") == 1


@pytest.mark.redis
def test_redis_is_cleared_by_our_prefix_only() -> None:
    ours, theirs = Cache(redis_store("app*-")), Cache(redis_store("appx-"))
    ours.forever("key", 1)
    theirs.forever("key", 1)

    ours.flush()

    assert (ours.get("key"), theirs.get("key")) == (None, 1)
    theirs.flush()


@pytest.mark.redis
def test_redis_without_a_prefix_is_not_cleared() -> None:
    with pytest.raises(ConfigError, match="prefix"):
        redis_store("").flush()


@pytest.mark.redis
@pytest.mark.parametrize("text", ['O:8:"stdClass":0:{}', "a:0:{}", 'E:3:"A:B";', "N;", "d:1.5;", "[" * 200_000])
def test_what_php_serialized_is_a_miss_on_redis(text: str) -> None:
    import redis

    store = redis_store("test-php-")
    redis.Redis.from_url(os.environ["REDIS_TEST_URL"]).set("test-php-key", text, px=5000)

    assert store.get("key") is None


@pytest.mark.redis
def test_the_restart_value_on_redis_is_what_php_writes_and_reads() -> None:
    import redis

    case = next(case for case in GOLDEN if case.get("label") == "defaults")
    name, golden = next(iter(case["keys"].items()))
    key = name.removeprefix("db1 ")
    client = redis.Redis.from_url(os.environ["REDIS_TEST_URL"]) if os.environ.get("REDIS_TEST_URL") else None
    store = redis_store(key.removesuffix(KEY))
    assert client is not None
    client.set(key, golden["value"])

    read = RestartSignal(Cache(store)).read()
    written = RestartSignal(Cache(store)).broadcast()

    assert read == int(golden["value"])
    assert client.get(key) == str(written).encode()
    client.delete(key)


def test_the_restart_file_is_what_php_writes_and_reads(tmp_path: Path) -> None:
    case = next(case for case in GOLDEN if case["store"] == "file")["files"][0]
    path = tmp_path / Path(case["path"]).relative_to("storage/framework/cache/data")
    path.parent.mkdir(parents=True)
    path.write_text(case["text"])
    signal = RestartSignal(Cache(FileStore(tmp_path)))

    read = signal.read()
    written = signal.broadcast()

    assert read == 1795399635
    assert path.read_text() == f"9999999999i:{written};"
    assert written > read


@pytest.mark.parametrize(
    "text", ["", "garbage", '9999999999O:8:"stdClass":0:{}', "9999999999", "123", TOO_LONG, TOO_DEEP]
)
def test_a_file_that_can_not_be_read_is_a_miss(tmp_path: Path, text: str) -> None:
    store = FileStore(tmp_path)
    store.put("key", 1, None)
    file = next(path for path in tmp_path.rglob("*") if path.is_file() and len(path.name) == 40)

    file.write_text(text)

    assert store.get("key") is None
