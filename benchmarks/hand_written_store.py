"""The Data Store's create by hand, with the same guarantees: row committed, answer acknowledged, then the offset.

It waits for no acknowledgement: the next row is written meanwhile, as in the worker.
"""

import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import sqlalchemy
from confluent_kafka import Consumer, Producer, TopicPartition
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from lamplighter.kafka.settings.settings import KafkaSettings

INSERT = "INSERT INTO taxonomy (id, name) VALUES ({0}, {0}) ON CONFLICT DO NOTHING"


Write = Callable[[str, str], None]


def writer(database: str) -> Write:
    """A function that commits one row, by the database's driver."""
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


def session_writer(database: str) -> Write:
    """A function that commits one row, by a session of SQLAlchemy."""
    is_postgres = database.startswith("postgresql:")
    url = database.replace("postgresql:", "postgresql+psycopg:", 1) if is_postgres else f"sqlite:///{database}"
    engine = sqlalchemy.create_engine(url)
    table = sqlalchemy.table("taxonomy", sqlalchemy.column("id"), sqlalchemy.column("name"))
    statement = (postgresql if is_postgres else sqlite).insert(table).on_conflict_do_nothing()
    if not is_postgres:
        sqlalchemy.event.listen(engine, "connect", _prepare)

    def write(id: str, name: str) -> None:
        with Session(engine) as session:
            session.execute(statement, {"id": id, "name": name})
            session.commit()

    return write


def _prepare(connection: sqlite3.Connection, record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def run(brokers: str, topic: str, answers: str, count: int, write: Write) -> None:
    """Consume until `count` events are rows and answers."""
    settings = KafkaSettings(brokers=brokers, queue=topic, consumer_group_id=f"{topic}-hand")
    consumer, producer = Consumer(settings.consumer_config()), Producer(settings.producer_config())
    producer.list_topics(answers)
    consumer.subscribe([topic])
    decode = msgspec.json.Decoder().decode
    open_ones: dict[int, deque[list[int | bool]]] = {}
    due, done = time.monotonic() + 1, 0
    while done < count:
        producer.poll(0)
        message = consumer.poll(0.01 if any(open_ones.values()) else 1)
        if message is not None and message.error() is None:
            job = decode(message.value() or b"")
            key = message.key() or b""
            id, name = key.decode(), job["data"]["values"]["name"]
            write(id, name)
            one: list[int | bool] = [message.offset() or 0, False]
            open_ones.setdefault(message.partition() or 0, deque()).append(one)
            producer.produce(answers, answer(id, name), key, on_delivery=partial(acknowledged, one))
            done += 1
        if time.monotonic() > due:
            if offsets := to_commit(topic, open_ones):
                consumer.commit(offsets=offsets, asynchronous=True)
            due = time.monotonic() + 1
    producer.flush(30)
    if offsets := to_commit(topic, open_ones):
        consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


def acknowledged(one: list[int | bool], error: object, _: object) -> None:
    """The broker has an answer."""
    assert error is None
    one[1] = True


def to_commit(topic: str, open_ones: dict[int, deque[list[int | bool]]]) -> list[TopicPartition]:
    """Where the acknowledged ones end, without a gap."""
    offsets = []
    for partition, ones in open_ones.items():
        last = None
        while ones and ones[0][1]:
            last = ones.popleft()[0]
        if last is not None:
            offsets.append(TopicPartition(topic, partition, last + 1))
    return offsets


def answer(id: str, name: str) -> bytes:
    """The answer's payload."""
    data: dict[str, Any] = {"type": "taxonomy", "id": id, "error": False, "code": 200, "message": "Found"}
    body = {"displayName": "job.api.data", "job": "job.api.data", "data": {**data, "data": {"id": id, "name": name}}}
    return msgspec.json.encode(body)


if __name__ == "__main__":
    make = {"driver": writer, "session": session_writer}[sys.argv[6]]
    run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), make(sys.argv[5]))
