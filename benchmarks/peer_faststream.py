"""FastStream's Confluent broker, acknowledging after each message."""

import os

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker

from benchmarks.stamps import Stamps

broker = KafkaBroker(os.environ["KAFKA_BROKERS"])
app = FastStream(broker)
stamps = Stamps()


@broker.subscriber(
    os.environ["KAFKA_QUEUE"],
    group_id=os.environ["KAFKA_QUEUE"],
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.ACK,
)
async def handle(message: dict) -> None:
    """Leave a stamp."""
    stamps.stamp()
