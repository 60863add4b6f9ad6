"""taskiq on a stream of Redis, acknowledging after the job; run as a program it enqueues."""

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from benchmarks.peer_jobs import JOB, Timed, is_bulk, numbers, parts, values
from benchmarks.stamps import Stamps

# "0": the group begins with the first entry, so that jobs sent before the worker are seen.
broker = RedisStreamBroker(url=os.environ["BENCH_BROKER_URL"], consumer_id="0", queue_name=os.environ["KAFKA_QUEUE"])
stamps = Stamps()


@broker.task(task_name="noop")
async def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


@broker.task(task_name="four")
async def four(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp."""
    stamps.stamp()


@broker.task(task_name="four_wait")
async def four_wait(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp, then wait."""
    stamps.stamp()
    await asyncio.sleep(0.001)


async def enqueue() -> None:
    """Send the jobs; in bulk beside each other, since it has no call for many."""
    task = {"noop": noop, "four": four, "four_wait": four_wait}[JOB]
    await broker.startup()
    with Timed():
        if is_bulk():
            for part in parts(100):
                await asyncio.gather(*(task.kiq(*values(number)) for number in part))
        else:
            for number in numbers():
                await task.kiq(*values(number))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(enqueue())
