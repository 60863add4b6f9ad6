"""The configured stores, from config/cache.py to the keys of Redis."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from lamplighter.cache.manager import CacheManager
from lamplighter.cache.stores import array
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.cache.stores.null import NullStore
from lamplighter.config import Repository, load_config
from lamplighter.errors import CacheUnavailable, ConfigError
from lamplighter.queue.guard.restart import KEY, RestartSignal
from tests.threads import THREADS, at_once

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads((ROOT / "tests/golden/queue_restart_cache.json").read_text())["cases"]
ON_REDIS = [case for case in GOLDEN if case["store"] == "redis"]
NAMES = (
    "APP_NAME",
    "CACHE_STORE",
    "CACHE_DRIVER",
    "CACHE_PREFIX",
    "REDIS_PREFIX",
    "REDIS_URL",
    "REDIS_CACHE_DB",
    "REDIS_DB",
)


@pytest.fixture
def redis_url() -> str:
    """The Redis that CI promised."""
    url = os.environ.get("REDIS_TEST_URL")
    if not url and os.environ.get("CI_SERVICES"):
        pytest.fail("CI promised a Redis, and REDIS_TEST_URL is not set")
    if not url:
        pytest.skip("no Redis: set REDIS_TEST_URL")
    return url


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


def configured(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Repository:
    """The application's own configuration in such an environment."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_config(ROOT / "config")


def manager(folder: Path, **store: object) -> CacheManager:
    """A manager with one store."""
    settings = {"cache": {"default": "only", "prefix": "", "stores": {"only": store}}}
    return CacheManager(Repository(settings), lambda path: folder / path)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("DoS Data Store", "dos-data-store"),
        ("Joe's App", "joes-app"),
        ("dos.app", "dosapp"),
        ("my_app", "my-app"),
        ("a@b", "a-at-b"),
        ("Café  Ünï", "cafe-uni"),
    ],
)
def test_prefixes_follow_from_the_name_as_laravel_makes_them(
    monkeypatch: pytest.MonkeyPatch, name: str, slug: str
) -> None:
    config = configured(monkeypatch, APP_NAME=name)

    prefixes = config.string("cache.stores.redis.prefix") + config.string("cache.prefix")

    assert prefixes == f"{slug}-database-{slug}-cache-"


@pytest.mark.parametrize("case", ON_REDIS, ids=lambda case: str(case["label"]))
def test_keys_on_redis_begin_as_those_of_php(monkeypatch: pytest.MonkeyPatch, case: dict[str, object]) -> None:
    # Without a name PHP calls an application Laravel; ours is the Data Store.
    environment = {"APP_NAME": "Laravel"} | dict(case["env"])  # type: ignore[call-overload]

    config = configured(monkeypatch, **environment)

    key = config.string("cache.stores.redis.prefix") + config.string("cache.prefix") + KEY
    assert [f"db{config.integer('cache.stores.redis.database')} {key}"] == list(case["keys"])  # type: ignore[call-overload]


def test_locks_are_in_the_database_of_laravels_default_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = [
        [config.integer(f"cache.stores.redis.{key}") for key in ("database", "lock_database")]
        for config in (configured(monkeypatch), configured(monkeypatch, REDIS_DB="4", REDIS_CACHE_DB="5"))
    ]

    assert databases == [[1, 0], [5, 4]]


@pytest.mark.parametrize(
    ("environment", "default"),
    [({}, "file"), ({"CACHE_DRIVER": "redis"}, "redis"), ({"CACHE_STORE": "array", "CACHE_DRIVER": "redis"}, "array")],
)
def test_the_older_name_of_the_store_is_read_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], default: str
) -> None:
    assert configured(monkeypatch, **environment).string("cache.default") == default


def test_the_null_store_can_be_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = configured(monkeypatch, CACHE_STORE="null")

    cache = CacheManager(config, lambda path: tmp_path / path).store()

    assert isinstance(cache.store, NullStore)


def test_a_file_store_lies_below_the_base_path(tmp_path: Path) -> None:
    cache = manager(tmp_path, driver="file", path="some/where").store()

    cache.forever("key", 1)

    assert (tmp_path / "some/where").is_dir()


def test_a_store_is_made_once(tmp_path: Path) -> None:
    caches = manager(tmp_path, driver="array")

    assert caches.store() is caches.store("only")


def test_many_threads_that_need_a_store_first_have_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowStore(ArrayStore):
        def __init__(self) -> None:
            time.sleep(0.05)  # as long as other threads need to come here, too
            super().__init__()

    monkeypatch.setattr(array, "ArrayStore", SlowStore)
    caches = manager(tmp_path, driver="array")

    taken = at_once(lambda: caches.store().lock("report", 60).acquire())

    assert sorted(taken, key=bool) == [False] * (THREADS - 1) + [True]


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ({"driver": "memcached"}, "'memcached'; the known ones are array, file, null and redis"),
        ({}, "None; the known ones are"),
        ({"driver": "file", "pth": "x"}, "unknown key 'pth'; it knows driver, path"),
        ({"driver": "array", "path": "x"}, "unknown key 'path'"),
        ({"driver": "redis", "port": "high"}, "'port'"),
        ({"driver": "redis", "url": "127.0.0.1:6379"}, "redis://"),
    ],
)
def test_wrong_settings_are_named_with_their_file(tmp_path: Path, store: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=r"config/cache\.py \(stores\.only\)") as caught:
        manager(tmp_path, **store).store()

    assert said in str(caught.value)


def test_an_unknown_store_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no store 'nope'; it has only"):
        manager(tmp_path, driver="array").store("nope")


def test_a_password_in_a_wrong_url_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        manager(tmp_path, driver="redis", url="redis://:hunter2@host:port").store()

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_redis_that_never_answers_is_given_up_in_time(tmp_path: Path, silent: int) -> None:
    cache = manager(tmp_path, driver="redis", port=silent).store(timeout=0.2)
    begun = time.monotonic()

    with pytest.raises(CacheUnavailable, match=f"127.0.0.1:{silent} does not answer"):
        cache.get("key")

    assert time.monotonic() - begun < 0.9


@pytest.mark.redis
def test_what_a_url_leaves_out_the_other_settings_say(tmp_path: Path, redis_url: str) -> None:
    import redis

    bare = urlunsplit(urlsplit(redis_url)._replace(path=""))
    cache = manager(tmp_path, driver="redis", url=bare, database=5, prefix="test-url-").store()

    cache.put("key", 1, 5)

    assert redis.Redis.from_url(bare, db=5).get("test-url-key") == b"1"


@pytest.mark.redis
@pytest.mark.parametrize(("path", "key"), [("", b"test-locks-door"), ("/6", b"test-locks-\0lock:door")])
def test_a_database_in_the_url_is_that_of_the_locks_too(tmp_path: Path, redis_url: str, path: str, key: bytes) -> None:
    import redis

    url = urlunsplit(urlsplit(redis_url)._replace(path=path))
    cache = manager(tmp_path, driver="redis", url=url, database=5, lock_database=6, prefix="test-locks-").store()

    cache.lock("door", 60).acquire()

    found = redis.Redis.from_url(urlunsplit(urlsplit(redis_url)._replace(path="/6"))).keys("test-locks-*")
    cache.flush()
    assert found == [key]


@pytest.mark.redis
def test_a_connection_that_redis_has_closed_is_opened_again(tmp_path: Path, redis_url: str) -> None:
    import redis

    admin = redis.Redis.from_url(redis_url)
    others = {client["id"] for client in admin.client_list()}
    cache = manager(tmp_path, driver="redis", url=redis_url, prefix="test-closed-").store()
    cache.put("key", 1, 5)
    ours = [client["id"] for client in admin.client_list() if client["id"] not in others]

    killed = [admin.client_kill_filter(_id=client) for client in ours]

    assert killed == [1]
    assert cache.get("key") == 1


@pytest.mark.redis
def test_the_signal_goes_through_redis_from_one_process_to_another(tmp_path: Path, redis_url: str) -> None:
    settings = {"driver": "redis", "url": redis_url, "prefix": "test-signal-"}
    written = RestartSignal(manager(tmp_path, **settings).store()).broadcast()

    read = RestartSignal(manager(tmp_path, **settings).store(timeout=1.0)).read()

    assert read == written
    manager(tmp_path, **settings).store().flush()
