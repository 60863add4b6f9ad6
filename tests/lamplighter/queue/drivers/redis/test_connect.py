"""The connections of config/database.py under `redis`, and those of config/queue.py that use them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from lamplighter.config import Repository
from lamplighter.container import Container
from lamplighter.contracts import Config
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.redis.connect import find_server
from lamplighter.queue.drivers.redis.store import connect
from lamplighter.support.discovery import load_settings

ROOT = Path(__file__).parents[5]


def settings_of(section: dict[str, Any], name: str = "default") -> dict[str, Any]:
    """What the client is made with."""
    client = find_server(section, name).client()
    assert isinstance(client, redis.Redis)
    return dict(client.connection_pool.connection_kwargs)


def test_a_connection_is_as_laravel_s() -> None:
    section = {
        "client": "phpredis",
        "options": {"prefix": "app-database-"},
        "default": {"host": "redis.local", "port": "6380", "password": "secret", "database": "2"},
        "other": {"host": "redis.local", "prefix": "other-"},
    }

    settings = settings_of(section)

    assert (settings["host"], settings["port"], settings["db"]) == ("redis.local", 6380, 2)
    assert (settings["password"], settings["socket_timeout"], settings["socket_connect_timeout"]) == ("secret", 5, 5)
    assert find_server(section, "default").prefix == "app-database-"
    assert find_server(section, "other").prefix == "other-"
    assert settings_of(section, "other")["db"] == 0
    assert "secret" not in repr(find_server(section, "default"))


def test_a_url_wins_over_host_and_database() -> None:
    settings = settings_of({"default": {"url": "redis://me:word@there:7000/5", "host": "here", "database": 1}})

    assert (settings["host"], settings["port"], settings["db"]) == ("there", 7000, 5)
    assert (settings["username"], settings["password"]) == ("me", "word")


@pytest.mark.parametrize(("url", "is_tls"), [("redis://there", False), ("rediss://there", True), (None, True)])
def test_the_scheme_of_a_url_wins(url: str | None, is_tls: bool) -> None:
    server = find_server({"default": {"url": url, "scheme": "tls", "context": {"cafile": "ca.pem"}}}, "default")
    client = server.client()

    assert isinstance(client, redis.Redis)
    assert issubclass(client.connection_pool.connection_class, redis.SSLConnection) is is_tls
    assert (client.connection_pool.connection_kwargs.get("ssl_ca_certs") == "ca.pem") is is_tls
    client.connection_pool.make_connection()  # it takes all of the settings


def test_answers_are_bytes_whatever_a_url_says() -> None:
    assert settings_of({"default": {"url": "redis://there?decode_responses=True"}})["decode_responses"] is False


def test_no_call_waits_for_ever() -> None:
    settings = settings_of({"default": {"timeout": 0, "read_timeout": "0"}})

    assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (5, 5)


def test_a_host_that_is_a_path_is_a_socket() -> None:
    assert settings_of({"default": {"host": "/run/redis.sock"}})["path"] == "/run/redis.sock"


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({}, "no connection 'default' under redis; it has none"),
        ({"cache": {}, "clusters": {"big": [{}]}}, "it has big, cache"),
        ({"default": {"hots": "x"}}, r"\(redis\.default\).*hots"),
        ({"default": {"port": "many"}}, "port"),
        ({"options": {"prefix": 5}, "default": {}}, r"\(redis\.options\).*prefix"),
        ({"clusters": {"default": []}}, "has no node"),
        ({"default": {"scheme": "ssl"}}, "scheme"),
    ],
)
def test_what_is_wrong_is_named(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        find_server(section, "default")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"retry_after": 0}, "has to last"),
        ({"retry_afer": 5}, "retry_afer"),
        ({"queue": 5}, "queue"),
        ({"block_for": -1}, "block_for"),
        ({"migration_batch_size": 0}, "migration_batch_size"),
        ({"migration_batch_size": -2}, "migration_batch_size"),
        ({"claim_check": "claims"}, "claim_check"),
    ],
)
def test_what_is_wrong_in_config_queue_is_named(options: dict[str, Any], says: str) -> None:
    app = Container()
    app.instance(Config, Repository({"database": {"redis": {"default": {}}}}))

    with pytest.raises(ConfigError, match=rf"config/queue\.py \(connections\.redis\).*{says}"):
        connect(app, "redis", {"driver": "redis", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["options", "clusters", "client"])
def test_what_is_beside_the_connections_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="no connection"):
        find_server({name: {}, "default": {}}, name)


def test_the_environment_chooses_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"APP_NAME": "My App", "REDIS_HOST": "cache.local", "REDIS_DB": "3", "REDIS_SCHEME": "tls"}
    for name, value in {**variables, "REDIS_SENTINELS": "a:1, b:2", "REDIS_SENTINEL_SERVICE": "mine"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("REDIS_PREFIX", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)

    server = find_server(load_settings(ROOT / "config/database.py")["redis"], "default")

    assert server.prefix == "my-app-database-"
    assert (server.options.host, server.options.database, server.options.scheme) == ("cache.local", 3, "tls")
    assert (server.options.sentinels, server.options.service) == (("a:1", "b:2"), "mine")


def test_a_worker_without_the_library_is_told_how_to_install_it() -> None:
    program = """
import sys
from importlib import machinery
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(lambda cls, name, *rest: None if name == "redis" else find(name, *rest))
from lamplighter.queue.drivers.catalogue import connector
from lamplighter.config import Repository
from lamplighter.container import Container
from lamplighter.contracts import Config
from lamplighter.errors import ConfigError
try:
    connector("redis")(None, "redis", {"driver": "redis"})
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert "pip install 'lamplighter[redis]'" in done.stdout
