"""Celery on Redis, one process, acknowledging after the task; run as a program it enqueues."""

import os

from celery import Celery

from benchmarks.stamps import Stamps

app = Celery("benchmarks.peer_celery", broker=os.environ["BENCH_REDIS"])
app.conf.update(task_acks_late=True, task_ignore_result=True, broker_connection_retry_on_startup=True)
stamps = Stamps()


@app.task(name="bench.noop")
def noop(number: int) -> None:
    """Leave a stamp."""
    stamps.stamp()


if __name__ == "__main__":
    for number in range(int(os.environ["BENCH_COUNT"])):
        noop.delay(number)
