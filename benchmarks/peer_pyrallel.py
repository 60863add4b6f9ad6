"""pyrallel-consumer, asyncio engine, key order: a library, the nearest in Python to a job queue on Kafka."""

import asyncio
import os

from pyrallel_consumer import KafkaConfig, PyrallelConsumer, WorkItem

from benchmarks.stamps import COUNT, Stamps

stamps = Stamps()


async def handle(item: WorkItem) -> None:
    """Leave a stamp."""
    stamps.stamp()


async def run() -> None:
    """Consume until all jobs have run."""
    topic = os.environ["KAFKA_QUEUE"]
    config = KafkaConfig(BOOTSTRAP_SERVERS=os.environ["KAFKA_BROKERS"], CONSUMER_GROUP=topic, dlq_enabled=False)
    consumer = PyrallelConsumer(config, handle, topic)
    await consumer.start()
    while stamps.get(COUNT) < int(os.environ["BENCH_COUNT"]):
        await asyncio.sleep(0.1)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(run())
