"""The limit on a store with leases: take, decode, call by name, settle with the next take; nothing else.

Each loop sends what the driver sends when a job ends and the next one begins: the same script, the same statements.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.stamps import Stamps

LEASE = 90  # seconds
TABLE = "jobs"


def redis(address: str, queue: str, count: int, handle: Callable[[bytes], None]) -> None:
    """By redis-py's own methods."""
    from redis import Redis

    from lamplighter.queue.drivers.redis import scripts

    client = Redis.from_url(address)
    digest = client.script_load(scripts.take.text)
    key = f"{os.environ['REDIS_PREFIX']}queues:{queue}".encode()
    keys = (key, key + b":delayed", key + b":reserved", key + b":notify")
    head = (1, 1, float(LEASE), 7, 10000, 0, "")
    ends: tuple[Any, ...] = ()
    for _ in range(count):
        _, payload, first, last, text = client.evalsha(digest, 4, *keys, *head, *ends)
        handle(payload)
        ends = (1, "d", 1, 7, payload[: first - 1] + text + payload[last:])
    client.evalsha(digest, 4, *keys, *head, *ends)


def postgresql(address: str, queue: str, count: int, handle: Callable[[bytes], None]) -> None:
    """By psycopg, which prepares the statement, in the driver's own session."""
    import psycopg

    from lamplighter.queue.drivers.database.postgresql import PostgresqlRows

    rows = PostgresqlRows(TABLE, seconds=LEASE)
    with psycopg.connect(address) as connection:
        rows.prepare(connection, None)
        statement = rows._take_query(1)
        values: dict[str, Any] = {"ids": "{}", "attempts": "{}", "available": "{}", "most": 1, "queue": queue}
        for _ in range(count):
            row: Any = connection.execute(statement, values, prepare=True).fetchone()
            handle(row[2].encode())
            values |= {"ids": f"{{{row[0]}}}", "attempts": f"{{{row[3]}}}", "available": f"{{{row[7]}}}"}
        connection.execute(statement, values, prepare=True)


def sqlite(address: str, queue: str, count: int, handle: Callable[[bytes], None]) -> None:
    """By Python's own sqlite3."""
    import sqlite3

    from lamplighter.queue.drivers.database.sqlite import SqliteRows

    rows = SqliteRows(TABLE, seconds=LEASE)
    connection = sqlite3.connect(address)
    rows.prepare(connection, None)
    reserve = f"UPDATE {TABLE} SET reserved_at = :soon, attempts = attempts + 1 WHERE id = :id"
    ended: dict[str, int] = {}
    for number in range(count + 1):
        connection.execute("BEGIN IMMEDIATE")
        if ended:
            connection.execute(rows._delete_one, ended)
        now = time.time()
        values = {"queue": queue, "most": 1, "now": int(now), "moment": now, "soon": int(now) + 1}
        row = connection.execute(rows._next, values).fetchone()
        if row is not None:
            connection.execute(reserve, {"soon": row[3], "id": row[0]})
        connection.execute("COMMIT")
        if number < count:
            handle(row[1])
            ended = {"id": row[0], "attempts": row[2] + 1, "available_at": row[6]}
    connection.close()


def beanstalkd(address: str, queue: str, count: int, handle: Callable[[bytes], None]) -> None:
    """By greenstalk's own methods: reserve, stats-job (which tells the attempts), delete."""
    import greenstalk

    host, _, port = address.rpartition(":")
    with greenstalk.Client((host, int(port)), encoding=None, watch=queue) as client:
        for _ in range(count):
            job = client.reserve(timeout=5)
            client.stats_job(job)
            handle(job.body)
            client.delete(job)


def main(store: str, address: str, queue: str, count: int) -> None:
    """Run one of the loops until `count` jobs are done."""
    stamps = Stamps()
    decode = msgspec.json.Decoder().decode

    def four(number: int, text: str, price: float, parts: list[int]) -> None:
        stamps.stamp()

    handlers = {"bench.four": four}

    def handle(payload: bytes) -> None:
        job = decode(payload)
        data = job["data"]
        handlers[job["job"]](data["number"], data["text"], data["price"], data["parts"])

    loops = {"redis": redis, "postgresql": postgresql, "sqlite": sqlite, "beanstalkd": beanstalkd}
    loops[store](address, queue, count, handle)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
