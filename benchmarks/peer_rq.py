"""RQ; run as a program it enqueues."""

import os
import time

from redis import Redis
from rq import Queue

from benchmarks.peer_jobs import JOB, Timed, is_bulk, numbers, parts, values
from benchmarks.stamps import Stamps

stamps = Stamps()


def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


def four(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp."""
    stamps.stamp()


def four_wait(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp, then wait."""
    stamps.stamp()
    time.sleep(0.001)


if __name__ == "__main__":
    name = f"benchmarks.peer_rq.{JOB}"
    queue = Queue(os.environ["KAFKA_QUEUE"], connection=Redis.from_url(os.environ["BENCH_BROKER_URL"]))
    with Timed():
        if is_bulk():
            for part in parts():
                queue.enqueue_many([Queue.prepare_data(name, args=values(n), result_ttl=0) for n in part])
        else:
            for number in numbers():
                queue.enqueue(name, args=values(number), result_ttl=0)
