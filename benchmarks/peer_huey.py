"""Huey on Redis or in an SQLite file; run as a program it enqueues."""

import os
import time

from huey import RedisHuey, SqliteHuey

from benchmarks.peer_jobs import JOB, Timed, numbers, values
from benchmarks.stamps import Stamps

address = os.environ["BENCH_BROKER_URL"]
name = os.environ["KAFKA_QUEUE"]
huey = RedisHuey(name, url=address) if address.startswith("redis:") else SqliteHuey(name, filename=address)
stamps = Stamps()


@huey.task()
def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


@huey.task()
def four(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp."""
    stamps.stamp_beside_others()


@huey.task()
def four_wait(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp, then wait."""
    stamps.stamp_beside_others()
    time.sleep(0.001)


if __name__ == "__main__":
    from benchmarks import peer_huey  # a job carries its module's name, which must not be __main__

    task = getattr(peer_huey, JOB)
    with Timed():
        for number in numbers():
            task(*values(number))
