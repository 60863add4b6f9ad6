"""The measurements; each returns rows of (what, ours, the limit's, how they compare)."""

import statistics
import time
from dataclasses import dataclass

from confluent_kafka import Producer

from benchmarks.bench import Bench, noops, payload
from benchmarks.stamps import COUNT, START

MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    limit: str
    compared: str


def spread(values: list[float], form: str = ",.0f") -> str:
    """The median, with the least and the most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def throughput(bench: Bench, *, jobs: int, runs: int) -> list[Row]:
    """No-op jobs per second, alternating: the bare loop, the worker with -q, the worker with its lines in a file."""
    topic = bench.topic("noop")
    bench.fill(topic, noops(jobs))
    rates: dict[str, list[float]] = {"bare": [], "-q": [], "lines": []}
    cpu: dict[str, list[float]] = {"bare": [], "-q": [], "lines": []}
    for run in range(runs):
        for kind in rates:
            bench.stamps.clear()
            group = f"{topic}-{kind.strip('-')}-{run}"
            if kind == "bare":
                process = bench.bare(topic, group, jobs)
            else:
                process = bench.worker(
                    topic, group, "--stop-when-empty", "--sleep=1", *(["-q"] if kind == "-q" else [])
                )
            ended = process.wait(300)
            assert bench.stamps.get(COUNT) == jobs, f"{kind}: {bench.stamps.get(COUNT)} of {jobs} jobs ran"
            rates[kind].append(bench.stamps.rate())
            cpu[kind].append(ended.cpu / jobs * 1e6)
    rows = []
    for kind, name in (("-q", "no-op jobs/s, -q"), ("lines", "no-op jobs/s, lines to a file")):
        ratios = [ours / limit for ours, limit in zip(rates[kind], rates["bare"], strict=True)]
        rows.append(Row(name, spread(rates[kind]), spread(rates["bare"]), f"{spread(ratios, '.2f')} of the loop"))
    for kind in ("-q", "lines"):
        rows.append(Row(f"CPU µs/job, {kind}", spread(cpu[kind], ".1f"), spread(cpu["bare"], ".1f"), ""))
    return rows


def memory(bench: Bench, *, jobs: int) -> list[Row]:
    """Resident memory over many jobs: the last tenth beside the second, and beside the bare loop."""
    topic = bench.topic("memory")
    bench.fill(topic, noops(jobs))
    bench.stamps.clear()
    ours = bench.worker(topic, f"{topic}-ours", "--stop-when-empty", "--sleep=1", "-q").wait(600, stamps=bench.stamps)
    bench.stamps.clear()
    bare = bench.bare(topic, f"{topic}-bare", jobs, imports=True).wait(600, stamps=bench.stamps)

    def tenth(samples: list[tuple[float, int]], number: int) -> float:
        inside = [rss for done, rss in samples if number * jobs / 10 <= done < (number + 1) * jobs / 10]
        return statistics.median(inside) / MIB

    second, last = (tenth(ours.samples, number) for number in (1, 9))
    bare_second, bare_last = (tenth(bare.samples, number) for number in (1, 9))
    growth = f"growth {last - second:+.1f} MiB, the loop's {bare_last - bare_second:+.1f}"
    return [
        Row(f"RSS MiB, last tenth of {jobs:,}", f"{last:.1f}", f"{bare_last:.1f}", f"{last - bare_last:+.1f} MiB"),
        Row("RSS MiB, second tenth", f"{second:.1f}", f"{bare_second:.1f}", growth),
    ]


def first_job(bench: Bench, *, runs: int) -> list[Row]:
    """Seconds from the start of the process to the start of its first job, in a group that exists."""
    topic = bench.topic("first")
    groups = {"ours": f"{topic}-ours", "bare": f"{topic}-bare"}
    took: dict[str, list[float]] = {"ours": [], "bare": []}
    for run in range(runs + 1):
        bench.fill(topic, noops(1))
        for kind, group in groups.items():
            bench.stamps.clear()
            process = bench.bare(topic, group, 1) if kind == "bare" else bench.worker(topic, group, "--once", "-q")
            process.wait(60)
            if run:  # the first one makes the group
                took[kind].append(bench.stamps.get(0) - process.began)
    more = statistics.median(took["ours"]) - statistics.median(took["bare"])
    return [Row("first job after start, s", spread(took["ours"], ".2f"), spread(took["bare"], ".2f"), f"{more:+.2f} s")]


def latency(bench: Bench, *, jobs: int = 320, rate: int = 50) -> list[Row]:
    """Milliseconds from the dispatch to the start of a job, at 50 jobs per second."""
    found: dict[str, list[float]] = {}
    for kind in ("ours", "bare"):
        topic = bench.topic(f"latency-{kind}")
        bench.stamps.clear()
        process = bench.bare(topic, topic, jobs) if kind == "bare" else bench.worker(topic, topic, "-q")
        sent = _send(bench, topic, jobs, rate)
        _await(bench, jobs)
        (process.wait(20) if kind == "bare" else process.stop())
        found[kind] = sorted((bench.stamps.get(START + n) - sent[n]) * 1000 for n in range(20, jobs))
    rows = []
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        ours, bare = (values[int(part * len(values))] for values in (found["ours"], found["bare"]))
        rows.append(
            Row(f"dispatch to start at {rate}/s, {name}, ms", f"{ours:.1f}", f"{bare:.1f}", f"{ours - bare:+.1f} ms")
        )
    return rows


def _send(bench: Bench, topic: str, jobs: int, rate: int) -> list[float]:
    producer = Producer({"bootstrap.servers": bench.brokers, "linger.ms": 0})
    producer.list_topics(topic)
    time.sleep(3)  # both consumers have joined by then; nothing waits for this
    began, sent = time.monotonic(), []
    for number in range(jobs):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        message = payload("bench.timed", {"number": number})
        sent.append(time.monotonic())
        producer.produce(topic, message, b"%d" % number)
        producer.poll(0)
    producer.flush(10)
    return sent


def _await(bench: Bench, jobs: int) -> None:
    until = time.monotonic() + 20
    while not all(bench.stamps.get(START + number) for number in range(jobs)):
        if time.monotonic() > until:
            raise SystemExit("jobs are missing")
        time.sleep(0.02)


def console(bench: Bench, *, runs: int) -> list[Row]:
    """CPU seconds of commands that deploy scripts call."""
    rows = []
    for command in ("list", "queue:restart"):
        used = [bench.artisan("noop", command).cpu for _ in range(runs)]
        rows.append(Row(f"CPU s of `{command}`", spread(used, ".2f"), "", "at most 0.25"))
    return rows


def data_store(bench: Bench, *, events: int, postgres: str | None) -> list[Row]:
    """Creates per second, to rows and acknowledged answers, beside a loop written by hand."""
    databases: dict[str, dict[str, str]] = {"SQLite": {"DB_DATABASE": str(bench.folder / "store.sqlite")}}
    rows = []
    if postgres:
        databases["PostgreSQL"] = {"DB_CONNECTION": "pgsql", "DB_URL": postgres}
    else:
        rows.append(Row("Data Store events/s, PostgreSQL", "left out: BENCH_POSTGRES_URL is not set", "", ""))
    for name, environment in databases.items():
        ours, hand = _store_rates(bench, events, name, environment)
        rows.append(
            Row(f"Data Store events/s, {name}", f"{ours:,.0f}", f"{hand:,.0f}", f"{ours / hand:.2f} of the loop")
        )
    return rows


def _store_rates(bench: Bench, events: int, name: str, environment: dict[str, str]) -> tuple[float, float]:
    bench.artisan("store", "migrate", "--force", **environment)
    rates = []
    for kind in ("ours", "hand"):
        topic, answers = bench.topic(f"store-{kind}"), bench.topic(f"api-{kind}")
        creates = (
            (f"{kind}-{n}".encode(), payload("job.data.store", {"type": "taxonomy", "values": {"name": f"Word {n}"}}))
            for n in range(events)
        )
        bench.fill(topic, creates)
        if kind == "ours":
            more = {**environment, "KAFKA_API_QUEUE": answers}
            process = bench.worker(topic, topic, "--stop-when-empty", "--sleep=1", "-q", project="store", **more)
        else:
            database = environment.get("DB_URL") or environment["DB_DATABASE"]
            program = ("-m", "benchmarks.hand_written_store", bench.brokers, topic, answers, str(events), database)
            process = bench.python(*program, topic=topic)
        process.wait(300)
        count, seconds = bench.span(answers)
        assert count == events, f"{name}, {kind}: {count} of {events} answers"
        rates.append((count - 1) / seconds)
    return rates[0], rates[1]
