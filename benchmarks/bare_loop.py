"""The limit: poll one at a time, decode, call by name, store the offset, commit each second; nothing else."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError

from benchmarks.stamps import Stamps
from lamplighter.kafka.settings.settings import KafkaSettings


def run(brokers: str, topic: str, group: str, count: int) -> None:
    """Consume until `count` messages are done, with the worker's own consumer settings."""
    stamps = Stamps()
    settings = KafkaSettings(brokers=brokers, queue=topic, consumer_group_id=group)
    consumer = Consumer(settings.consumer_config())
    consumer.subscribe([topic], on_assign=lambda *_: stamps.stamp_assigned())
    decode = msgspec.json.Decoder().decode

    def four(number: int, text: str, price: float, parts: list[int]) -> None:
        stamps.stamp()

    handlers: dict[str, Callable[[Any], None]] = {
        "bench.noop": lambda data: stamps.stamp(),
        "bench.four": lambda data: four(data["number"], data["text"], data["price"], data["parts"]),
        "bench.sent": lambda data: stamps.stamp_latency(data["at"]),
        "bench.timed": lambda data: stamps.stamp_number(data["number"]),
    }
    due = time.monotonic() + 1
    done = 0
    while done < count:
        message = consumer.poll(1)
        if message is None:
            continue
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise SystemExit(error.str())
            continue
        job = decode(message.value() or b"")
        handlers[job["job"]](job["data"])
        done += 1
        consumer.store_offsets(message=message)
        now = time.monotonic()
        if now > due:
            consumer.commit(asynchronous=True)
            due = now + 1
    consumer.commit(asynchronous=False)
    consumer.close()


def import_what_the_worker_imports() -> None:
    """So that memory is compared beyond the code itself."""
    from bootstrap.app import create_app
    from lamplighter.queue.commands.work import WorkCommand
    from lamplighter.queue.jobs.registry import Registry

    app = create_app().bootstrap()
    app.make(WorkCommand)
    app.make(Registry)


if __name__ == "__main__":
    if os.environ.get("BARE_IMPORTS"):
        import_what_the_worker_imports()
    run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
