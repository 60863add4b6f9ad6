"""Celery with one process, acknowledging after the task; run as a program it enqueues."""

import os
import time

from celery import Celery

from benchmarks.peer_jobs import JOB, Timed, numbers, values
from benchmarks.stamps import Stamps

app = Celery("benchmarks.peer_celery", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=os.environ["KAFKA_QUEUE"],
    broker_connection_retry_on_startup=True,
)
if os.environ["BENCH_BROKER_URL"].startswith("confluentkafka:"):
    # Its transport has no fan-out, which remote control needs; and it waits a second by default for a batch to fill.
    app.conf.update(
        worker_enable_remote_control=False,
        broker_transport_options={"wait_time_seconds": 1, "kafka_consumer_config": {"fetch.wait.max.ms": 10}},
    )
stamps = Stamps()


@app.task(name="bench.noop")
def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


@app.task(name="bench.four")
def four(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp."""
    stamps.stamp()


@app.task(name="bench.four_wait")
def four_wait(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp, then wait."""
    stamps.stamp_beside_others()
    time.sleep(0.001)


if __name__ == "__main__":
    task = {"noop": noop, "four": four, "four_wait": four_wait}[JOB]
    with Timed():
        for number in numbers():
            task.delay(*values(number))
