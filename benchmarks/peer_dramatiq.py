"""Dramatiq on Redis, with its own middleware; run as a program it enqueues."""

import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peer_jobs import JOB, Timed, numbers, values
from benchmarks.stamps import Stamps

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_BROKER_URL"]))
stamps = Stamps()


@dramatiq.actor(queue_name=os.environ["KAFKA_QUEUE"])
def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


@dramatiq.actor(queue_name=os.environ["KAFKA_QUEUE"])
def four(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp."""
    stamps.stamp_beside_others()


@dramatiq.actor(queue_name=os.environ["KAFKA_QUEUE"])
def four_wait(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp, then wait."""
    stamps.stamp_beside_others()
    time.sleep(0.001)


if __name__ == "__main__":
    actor = {"noop": noop, "four": four, "four_wait": four_wait}[JOB]
    with Timed():
        for number in numbers():
            actor.send(*values(number))
