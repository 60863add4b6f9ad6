"""taskiq on a stream of Redis, acknowledging after the job; run as a program it enqueues."""

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from benchmarks.stamps import Stamps

# "0": the group begins with the first entry, so that jobs sent before the worker are seen.
broker = RedisStreamBroker(url=os.environ["BENCH_BROKER_URL"], consumer_id="0")
stamps = Stamps()


@broker.task(task_name="noop")
async def noop() -> None:
    """Leave a stamp."""
    stamps.stamp()


async def enqueue() -> None:
    """Send the jobs."""
    await broker.startup()
    for _ in range(int(os.environ["BENCH_COUNT"])):
        await noop.kiq()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(enqueue())
