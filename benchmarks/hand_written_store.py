"""The Data Store's create by hand, with the same guarantees: row committed, answer acknowledged, then the offset."""

import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer

from lamplighter.kafka.settings import KafkaSettings

INSERT = "INSERT INTO taxonomy (id, name) VALUES ({0}, {0}) ON CONFLICT DO NOTHING"


def writer(database: str) -> Callable[[str, str], None]:
    """A function that commits one row."""
    if database.startswith("postgresql:"):
        import psycopg

        connection = psycopg.connect(database)

        def write(id: str, name: str) -> None:
            connection.execute(INSERT.format("%s").encode(), (id, name))
            connection.commit()

        return write
    file = sqlite3.connect(database, isolation_level=None)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = NORMAL")

    def write_to_file(id: str, name: str) -> None:
        file.execute("BEGIN IMMEDIATE")
        file.execute(INSERT.format("?"), (id, name))
        file.execute("COMMIT")

    return write_to_file


def run(brokers: str, topic: str, answers: str, count: int, database: str) -> None:
    """Consume until `count` events are rows and answers."""
    settings = KafkaSettings(brokers=brokers, queue=topic, consumer_group_id=f"{topic}-hand")
    consumer, producer = Consumer(settings.consumer_config()), Producer(settings.producer_config())
    producer.list_topics(answers)
    consumer.subscribe([topic])
    decode, write = msgspec.json.Decoder().decode, writer(database)
    due, done = time.monotonic() + 1, 0
    while done < count:
        message = consumer.poll(1)
        if message is None or message.error() is not None:
            continue
        job = decode(message.value() or b"")
        key = message.key() or b""
        id, name = key.decode(), job["data"]["values"]["name"]
        write(id, name)
        acknowledge(producer, answers, key, answer(id, name))
        consumer.store_offsets(message=message)
        done += 1
        if time.monotonic() > due:
            consumer.commit(asynchronous=True)
            due = time.monotonic() + 1
    consumer.commit(asynchronous=False)
    consumer.close()


def answer(id: str, name: str) -> bytes:
    """The answer's payload."""
    data: dict[str, Any] = {"type": "taxonomy", "id": id, "error": False, "code": 200, "message": "Found"}
    body = {"displayName": "job.api.data", "job": "job.api.data", "data": {**data, "data": {"id": id, "name": name}}}
    return msgspec.json.encode(body)


def acknowledge(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    """Produce and wait for the broker's report."""
    reports: list[object] = []
    producer.produce(topic, value, key, on_delivery=lambda error, _: reports.append(error))
    while not reports:
        producer.poll(0.1)
    assert reports == [None]


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
