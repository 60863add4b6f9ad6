"""Dramatiq on Redis, with its own middleware; run as a program it enqueues."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.stamps import Stamps

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_BROKER_URL"]))
stamps = Stamps()


@dramatiq.actor
def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


if __name__ == "__main__":
    for number in range(int(os.environ["BENCH_COUNT"])):
        noop.send(number)
