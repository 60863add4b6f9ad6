"""config/kafka.py under config/queue.py."""

from typing import Any

import pytest

from lamplighter.kafka.merge import KAFKA_FILE, QUEUE_FILE, Merge

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
