"""config/kafka.py under config/queue.py."""

import sys
from pathlib import Path
from typing import Any

import pytest

from lamplighter.contracts import Config
from lamplighter.errors import ConfigError
from lamplighter.foundation.application import Application
from lamplighter.kafka.connections import KafkaConnections
from lamplighter.kafka.provider import KafkaServiceProvider
from lamplighter.kafka.settings.merge import KAFKA_FILE, QUEUE_FILE, Merge
from lamplighter.queue.provider import QueueServiceProvider

KAFKA = {"connections": {"kafka": {"queue": "store", "brokers": "a:9092"}}}

CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("the framework's defaults alone", {}, {}, {"kafka": {"driver": "kafka"}}),
    (
        "config/kafka.py over the defaults",
        {},
        KAFKA,
        {"kafka": {"driver": "kafka", "queue": "store", "brokers": "a:9092"}},
    ),
    (
        "config/queue.py over config/kafka.py, key by key",
        {"connections": {"kafka": {"brokers": "b:9092"}}},
        KAFKA,
        {"kafka": {"driver": "kafka", "queue": "store", "brokers": "b:9092"}},
    ),
    (
        "config/queue.py without config/kafka.py",
        {"connections": {"kafka": {"queue": "jobs"}}},
        {},
        {"kafka": {"driver": "kafka", "queue": "jobs"}},
    ),
    (
        "config/queue.py loses none of its connections",
        {"connections": {"sync": {"driver": "sync"}, "redis": {"driver": "redis"}}},
        KAFKA,
        {
            "kafka": {"driver": "kafka", "queue": "store", "brokers": "a:9092"},
            "sync": {"driver": "sync"},
            "redis": {"driver": "redis"},
        },
    ),
    (
        "config/kafka.py loses none of its connections",
        {"connections": {"sync": {"driver": "sync"}}},
        {"connections": {"kafka": {"queue": "store"}, "kafka-eu": {"driver": "kafka", "queue": "eu"}}},
        {
            "kafka": {"driver": "kafka", "queue": "store"},
            "kafka-eu": {"driver": "kafka", "queue": "eu"},
            "sync": {"driver": "sync"},
        },
    ),
    (
        "a list is a value, and is not joined",
        {"connections": {"kafka": {"topics": ["x"]}}},
        {"connections": {"kafka": {"topics": ["api"]}}},
        {"kafka": {"driver": "kafka", "topics": ["x"]}},
    ),
]


@pytest.mark.parametrize(("queue", "kafka", "merged"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_connections_are(queue: dict[str, Any], kafka: dict[str, Any], merged: dict[str, Any]) -> None:
    result = Merge(queue=queue, kafka=kafka).result()

    assert result["connections"] == merged


def test_the_rest_of_config_queue_stays() -> None:
    result = Merge(queue={"default": "kafka", "failed": {"table": "failed_jobs"}}, kafka=KAFKA).result()

    assert (result["default"], result["failed"]) == ("kafka", {"table": "failed_jobs"})


def test_neither_file_is_changed() -> None:
    queue = {"connections": {"kafka": {"brokers": "b"}}}

    Merge(queue=queue, kafka=KAFKA).result()["connections"]["kafka"]["brokers"] = "c"

    assert queue == {"connections": {"kafka": {"brokers": "b"}}}
    assert KAFKA["connections"]["kafka"]["brokers"] == "a:9092"


@pytest.mark.parametrize(("key", "file"), [("brokers", QUEUE_FILE), ("queue", KAFKA_FILE), ("driver", KAFKA_FILE)])
def test_a_key_is_known_by_its_file(key: str, file: str) -> None:
    merge = Merge(queue={"connections": {"kafka": {"brokers": "b"}}}, kafka=KAFKA)

    assert merge.origin("kafka")(key).startswith(file)


@pytest.mark.parametrize(
    ("queue", "kafka", "told"),
    [
        ({"connections": None}, {}, r"config/queue\.py has null for the key 'connections', which takes a mapping"),
        ({}, {"connections": ["kafka"]}, r"config/kafka\.py has a list for the key 'connections'"),
        ({"connections": {"kafka": "a:9092"}}, KAFKA, r"config/queue\.py has a str for the key 'connections\.kafka'"),
        ({}, {"connections": {"kafka": None}}, r"config/kafka\.py has null for the key 'connections\.kafka'"),
        (
            {},
            {"driver": "kafka", "queue": "store"},
            r"config/kafka\.py has the unknown key 'driver'; it knows connections",
        ),
        ({}, {"conections": {}}, r"config/kafka\.py has the unknown key 'conections'"),
    ],
)
def test_a_file_of_another_shape_is_named(queue: dict[str, Any], kafka: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Merge(queue=queue, kafka=kafka).result()


def application(folder: Path, **files: str) -> Application:
    """A project with these files in config/."""
    (folder / "config").mkdir()
    for name, text in files.items():
        (folder / f"config/{name}.py").write_text(f"config = {text}")
    return Application(folder, providers=[QueueServiceProvider, KafkaServiceProvider]).bootstrap()


@pytest.fixture
def _path_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.mark.usefixtures("_path_as_before")
@pytest.mark.parametrize(
    ("files", "brokers", "queue", "others"),
    [
        ({}, "localhost", "default", set()),
        ({"kafka": "{'connections': {'kafka': {'brokers': 'a'}}}"}, "a", "default", set()),
        ({"queue": "{'connections': {'kafka': {'queue': 'jobs'}, 'sync': {}}}"}, "localhost", "jobs", {"sync"}),
        (
            {
                "kafka": "{'connections': {'kafka': {'brokers': 'a', 'queue': 'store'}, 'eu': {'driver': 'kafka'}}}",
                "queue": "{'connections': {'kafka': {'queue': 'jobs'}, 'sync': {}}}",
            },
            "a",
            "jobs",
            {"eu", "sync"},
        ),
    ],
    ids=["neither file", "config/kafka.py alone", "config/queue.py alone", "both"],
)
def test_a_file_may_be_missing(
    tmp_path: Path, files: dict[str, str], brokers: str, queue: str, others: set[str]
) -> None:
    app = application(tmp_path, **files)

    settings = app.make(KafkaConnections).settings("kafka")

    assert (settings.brokers, settings.queue) == (brokers, queue)
    assert set(app.make(Config).mapping("queue.connections")) == {"kafka", *others}


@pytest.mark.usefixtures("_path_as_before")
@pytest.mark.parametrize("file", ["kafka", "queue"])
@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("'broker': 'a'", r"has the unknown key 'broker'; it knows .*brokers"),
        ("'partitions': 'few'", r"has a str for the key 'partitions', which takes int"),
    ],
)
def test_a_bad_key_is_told_when_the_connection_is_used(tmp_path: Path, file: str, option: str, told: str) -> None:
    app = application(tmp_path, **{file: f"{{'connections': {{'kafka': {{{option}}}}}}}"})

    with pytest.raises(ConfigError, match=rf"config/{file}\.py \(connections\.kafka\) {told}"):
        app.make(KafkaConnections).settings("kafka")
