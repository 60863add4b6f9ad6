"""What a dispatch costs, and how much of it is the look whether a worker can read it."""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.bench import Bench
from benchmarks.report import NotMeasured, Row, spread
from lamplighter.contracts import Application
from lamplighter.queue.dispatching.dispatcher import UNSET, Dispatcher
from lamplighter.queue.dispatching.readable import ReadablePayloads
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.payload import new_id, write
from lamplighter.queue.jobs.registry import Registry

ONE_BY_ONE = 1_000  # dispatches that each wait for the broker
AT_ONCE = 50_000  # of one push_many
WRITTEN = 20_000  # payloads that go nowhere
TEXT = "x" * 12  # of a payload of 341 bytes


def dispatching(bench: Bench, *, runs: int) -> list[Row]:
    """Each figure with the check, and what the check is of it."""
    topic = bench.topic("dispatch")
    found: dict[str, list[float]] = {}
    for run in range(runs):
        figures = _program(bench, "noop", topic, "costs")
        figures["import"] = _program(bench, "store", topic, "import")["import"]
        bench.record("dispatch", run=run, **figures)
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    check, string_check = (
        [checked - written for checked, written in zip(found[f"{kind} checked"], found[f"{kind} written"], strict=True)]
        for kind in ("job", "string")
    )
    return [
        Row("dispatch, acknowledged, µs", spread(found["dispatch"]), compared=_share(check, found["dispatch"])),
        Row(
            "CPU µs/job of push_many, acknowledged",
            spread(found["push_many"], ".1f"),
            compared=_share(string_check, found["push_many"]),
        ),
        Row(
            "CPU µs to write a job of four fields, checked", spread(found["job checked"], ".1f"), compared=_more(check)
        ),
        Row(
            "CPU µs to write a string job, checked",
            spread(found["string checked"], ".1f"),
            compared=_more(string_check),
        ),
        Row("CPU s to import the Data Store's jobs, at the first dispatch", spread(found["import"], ".2f")),
    ]


def _share(check: list[float], whole: list[float]) -> str:
    part = statistics.median(check) / statistics.median(whole)
    return f"the check is {part:.1%} of it".replace("%", " %")


def _more(check: list[float]) -> str:
    return f"the check is {spread(check, '.1f')} of it"


def _program(bench: Bench, project: str, topic: str, what: str) -> dict[str, float]:
    """Run the second half of this module as a program that dispatches."""
    process = bench.program(project, "benchmarks.dispatching", what, topic=topic)
    process.wait(120)
    lines = process.output.read_text().splitlines()
    if not lines:
        raise NotMeasured("the program that dispatches has said nothing")
    return json.loads(lines[-1])  # type: ignore[no-any-return]


# the program ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def measure(app: Application) -> dict[str, float]:
    """Microseconds of one job each; all but the first are CPU time."""
    job: Job = importlib.import_module("app.Jobs.noop").Four(7, TEXT, 1.5, [1, 2, 3])
    dispatcher, registry = app.make(Dispatcher), app.make(Registry)
    payloads = ReadablePayloads(lambda: registry)
    data: Any = {"number": 7, "text": TEXT, "price": 1.5, "parts": [1, 2, 3]}
    dispatcher.dispatch(job)  # connects, and creates what is made once
    began = time.monotonic()
    for _ in range(ONE_BY_ONE):
        dispatcher.dispatch(job)
    dispatched, used = time.monotonic(), time.process_time()
    dispatcher.push_many(("bench.theirs", data, UNSET) for _ in range(AT_ONCE))
    pushed = time.process_time()
    return {
        "dispatch": (dispatched - began) / ONE_BY_ONE * 1e6,
        "push_many": (pushed - used) / AT_ONCE * 1e6,
        "job checked": cpu(lambda: payloads.of_job(job, id=new_id())),
        "job written": cpu(lambda: write(job.wire_name(), job.to_data(), id=new_id())),
        "string checked": cpu(lambda: payloads.of_data("bench.theirs", data, id=new_id())),
        "string written": cpu(lambda: write("bench.theirs", data, id=new_id())),
    }


def cpu(call: Callable[[], object]) -> float:
    """CPU microseconds of one call."""
    began = time.thread_time()
    for _ in range(WRITTEN):
        call()
    return (time.thread_time() - began) / WRITTEN * 1e6


def main() -> None:
    """Measure in the project that this program was started in."""
    from bootstrap.app import create_app

    app = create_app().bootstrap()
    if sys.argv[1] == "import":
        began = time.process_time()
        app.make(Registry)
        print(json.dumps({"import": time.process_time() - began}))
        return
    print(json.dumps(measure(app)))


if __name__ == "__main__":
    main()
