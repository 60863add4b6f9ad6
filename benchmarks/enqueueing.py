"""A program that dispatches, in the project of the benchmark's jobs; tells the seconds on its last line."""

import importlib
import json
import sys
import time

from benchmarks.bench import four_fields
from lamplighter.contracts import Application
from lamplighter.queue.dispatching.dispatcher import UNSET, Dispatcher
from lamplighter.queue.jobs.job import Job


def one_by_one(app: Application, name: str, connection: str, queue: str, count: int) -> float:
    """Seconds of so many dispatches."""
    jobs = importlib.import_module("app.Jobs.noop")
    kinds: dict[str, type[Job]] = {"bench.four": jobs.Four, "bench.four_wait": jobs.FourWait}
    kind, dispatcher = kinds[name], app.make(Dispatcher)
    dispatcher.dispatch(kind(**four_fields(0)), connection=connection, queue=f"{queue}-first")  # connects
    began = time.monotonic()
    for number in range(count):
        dispatcher.dispatch(kind(**four_fields(number)), connection=connection, queue=queue)
    return time.monotonic() - began


def in_bulk(app: Application, name: str, connection: str, queue: str, count: int) -> float:
    """Seconds of one push_many."""
    dispatcher = app.make(Dispatcher)
    dispatcher.push(name, four_fields(0), connection=connection, queue=f"{queue}-first")
    began = time.monotonic()
    jobs = ((name, four_fields(number), UNSET) for number in range(count))
    dispatcher.push_many(jobs, connection=connection, queue=queue)
    return time.monotonic() - began


def main(how: str, name: str, connection: str, queue: str, count: int) -> None:
    """Dispatch in the project that this program was started in."""
    from bootstrap.app import create_app

    app = create_app().bootstrap()
    enqueue = in_bulk if how == "bulk" else one_by_one
    print(json.dumps({"seconds": enqueue(app, name, connection, queue, count)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
