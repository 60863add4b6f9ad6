"""What the programs of the peers share: a job's four fields, and how they enqueue."""

import json
import os
import time

JOB = os.environ.get("BENCH_JOB", "noop")


def fields(number):
    """The same as of our own job of four fields."""
    return number, f"order {number}", number / 4, [number, 1, 2]


def values(number):
    """The arguments of the job that is asked for."""
    return (number,) if JOB == "noop" else fields(number)


def numbers():
    """One for each job."""
    return range(int(os.environ["BENCH_COUNT"]))


def parts(of=500):
    """The same, so many together."""
    count = int(os.environ["BENCH_COUNT"])
    return (range(first, min(first + of, count)) for first in range(0, count, of))


def is_bulk():
    """Whether they are to be enqueued many in one call."""
    return os.environ.get("BENCH_BULK") == "1"


class Timed:
    """Tells on its last line how many seconds a `with` took."""

    def __enter__(self):
        self._began = time.monotonic()

    def __exit__(self, *error):
        print(json.dumps({"seconds": time.monotonic() - self._began}))
