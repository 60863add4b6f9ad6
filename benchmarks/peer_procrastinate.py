"""procrastinate on PostgreSQL; run as a program it enqueues."""

import asyncio
import os

from procrastinate import App, PsycopgConnector

from benchmarks.peer_jobs import JOB, Timed, fields, is_bulk, numbers, parts
from benchmarks.stamps import Stamps

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_BROKER_URL"]))
stamps = Stamps()


@app.task(name="four", queue=os.environ["KAFKA_QUEUE"])
async def four(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp."""
    stamps.stamp()


@app.task(name="four_wait", queue=os.environ["KAFKA_QUEUE"])
async def four_wait(number: int, text: str, price: float, parts: list[int]) -> None:
    """Leave a stamp, then wait."""
    stamps.stamp()
    await asyncio.sleep(0.001)


def named(number: int) -> dict[str, object]:
    """The arguments by name, which it wants."""
    return dict(zip(("number", "text", "price", "parts"), fields(number), strict=True))


if __name__ == "__main__":
    task = {"four": four, "four_wait": four_wait}[JOB]
    with app.open(), Timed():
        if is_bulk():
            for part in parts():
                task.batch_defer(*(named(number) for number in part))
        else:
            for number in numbers():
                task.defer(**named(number))
