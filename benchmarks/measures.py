"""The measurements of the worker and the console; each returns rows of the table."""

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from confluent_kafka import Producer

from benchmarks.bench import Bench, fours, noops, payload
from benchmarks.process import Process, Sample
from benchmarks.report import NotMeasured, Row, quantile, ratio, spread
from benchmarks.stamps import ASSIGNED, COUNT, FIRST, START

MIB = 2**20
DRAIN = ("--stop-when-empty", "--sleep=1")
NOOP_GOALS = {"-q": 0.5, "lines": 0.4}  # of the loop
FIELDS_GOALS = {"-q": 0.55, "lines": 0.45}
KINDS = {"bare": "the loop", "-q": "-q", "lines": "lines to a file"}


def fields(bench: Bench, *, jobs: int, runs: int) -> list[Row]:
    """Jobs of four fields (int, text, float, list of ints), beside the loop that calls a function with the same."""
    return _throughput(bench, "four-field", fours(jobs), FIELDS_GOALS, jobs=jobs, runs=runs)


def throughput(bench: Bench, *, jobs: int, runs: int) -> list[Row]:
    """Jobs without fields, of which nothing is decoded but the envelope."""
    return _throughput(bench, "no-op", noops(jobs), NOOP_GOALS, jobs=jobs, runs=runs)


def _throughput(
    bench: Bench,
    what: str,
    payloads: Iterable[tuple[bytes, bytes]],
    goals: Mapping[str, float],
    *,
    jobs: int,
    runs: int,
) -> list[Row]:
    """Jobs per second, alternating: the bare loop, the worker with -q, the worker with its lines in a file."""
    topic = bench.topic(what)
    bench.fill(topic, payloads)
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for run in range(runs):
        for kind in KINDS:
            bench.stamps.clear()
            group = f"{topic}-{kind.strip('-')}-{run}"
            quiet = ("-q",) if kind == "-q" else ()
            process = bench.bare(topic, group, jobs) if kind == "bare" else bench.worker(topic, group, *DRAIN, *quiet)
            ended = process.wait(60 + jobs / 2000, stamps=bench.stamps)
            _expect(bench, jobs)
            rates[kind].append(bench.stamps.rate())
            cpu[kind].append(ended.cpu_per_job(jobs))
            bench.record(what, kind=kind, run=run, jobs=jobs, rate=rates[kind][-1], cpu_us=cpu[kind][-1])
    ours = {kind: name for kind, name in KINDS.items() if kind != "bare"}
    return [
        Row(
            f"{what} jobs/s, {name}",
            spread(rates[kind]),
            spread(rates["bare"]),
            f"{ratio(rates[kind], rates['bare'])} of the loop; at least {goals[kind]}",
        )
        for kind, name in ours.items()
    ] + [
        Row(f"CPU µs/{what} job, {name}", spread(cpu[kind], ".1f"), spread(cpu["bare"], ".1f"))
        for kind, name in ours.items()
    ]


def guarantees(bench: Bench, *, jobs: int, runs: int) -> list[Row]:
    """No-op jobs per second without what can be switched off, beside the worker as it is."""
    without: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "order by key": ((), {"KAFKA_ORDERING": "none"}),
        "deadlines": (("--timeout=0",), {}),
        "the look for standstills": ((), {"KAFKA_STALL_AFTER": "0"}),
    }
    topic = bench.topic("guarantees")
    bench.fill(topic, noops(jobs))
    rates: dict[str, list[float]] = {what: [] for what in ("", *without)}
    for run in range(runs):
        for number, (what, found) in enumerate(rates.items()):
            bench.stamps.clear()
            options, more = without.get(what, ((), {}))
            worker = bench.worker(topic, f"{topic}-{number}-{run}", *DRAIN, "-q", *options, **more)
            worker.wait(60 + jobs / 2000)
            _expect(bench, jobs)
            found.append(bench.stamps.rate())
            bench.record("guarantees", without=what, run=run, rate=found[-1])
    return [
        Row(
            f"no-op jobs/s, -q, without {what}",
            spread(rates[what]),
            compared=f"{ratio(rates[what], rates[''])} of all on",
        )
        for what in without
    ]


def memory(bench: Bench, *, jobs: int) -> list[Row]:
    """How long many jobs take, and resident memory: the last tenth beside the second, and beside the bare loop."""
    topic = bench.topic("memory")
    bench.fill(topic, noops(jobs))
    bench.stamps.clear()
    ours = bench.worker(topic, f"{topic}-ours", *DRAIN, "-q").wait(60 + jobs / 2000, stamps=bench.stamps)
    _expect(bench, jobs)
    took = jobs / bench.stamps.rate()
    bench.stamps.clear()
    bare = bench.bare(topic, f"{topic}-bare", jobs, imports=True).wait(60 + jobs / 2000, stamps=bench.stamps)
    bare_took = jobs / bench.stamps.rate()
    second, last = (_tenth(ours.samples, number, jobs) for number in (1, 9))
    bare_second, bare_last = (_tenth(bare.samples, number, jobs) for number in (1, 9))
    bench.record("memory", jobs=jobs, ours=[second, last], bare=[bare_second, bare_last])
    growth = f"grown {last - second:+.1f} MiB, at most +5; the loop {bare_last - bare_second:+.1f}"
    more = f"{last - bare_last:+.1f} MiB, at most +30"
    return [
        Row(f"s to drain {jobs:,}", f"{took:.1f}", f"{bare_took:.1f}"),
        Row("RSS MiB, second tenth", f"{second:.1f}", f"{bare_second:.1f}"),
        Row(f"RSS MiB, last tenth of {jobs:,}", f"{last:.1f}", f"{bare_last:.1f}", f"{growth}; {more}"),
    ]


def _tenth(samples: Sequence[Sample], number: int, jobs: int) -> float:
    inside = [one.rss for one in samples if number * jobs / 10 <= one.done < (number + 1) * jobs / 10]
    if not inside:
        raise NotMeasured(f"{jobs:,} jobs are too few to sample memory")
    return statistics.median(inside) / MIB


def first_job(bench: Bench, *, runs: int) -> list[Row]:
    """Seconds from the start of the process to the start of its first job, in a group that exists."""
    topic = bench.topic("first")
    took: dict[str, list[float]] = {"ours": [], "bare": []}
    joined: dict[str, list[float]] = {"ours": [], "bare": []}
    for run in range(runs + 1):
        bench.fill(topic, noops(1))
        for kind in took:
            bench.stamps.clear()
            group = f"{topic}-{kind}"
            logged = {"LOG_LEVEL": "info", "LOG_FORMAT": "json", "LOG_CHANNEL": "stderr"}
            process = bench.bare(topic, group, 1) if kind == "bare" else bench.worker(topic, group, "--once", **logged)
            process.wait(60)
            if run == 0:
                continue  # it made the group
            took[kind].append(bench.stamps.get(FIRST) - process.began)
            assigned = bench.stamps.get(ASSIGNED) - process.began if kind == "bare" else _assigned(process)
            joined[kind].append(assigned)
            bench.record("first", kind=kind, run=run, seconds=took[kind][-1], assigned=assigned)
    more = statistics.median(took["ours"]) - statistics.median(took["bare"])
    return [
        Row("first job after start, s", spread(took["ours"], ".2f"), spread(took["bare"], ".2f"), f"{more:+.2f} s"),
        Row(
            "… of it until the group has given partitions", spread(joined["ours"], ".2f"), spread(joined["bare"], ".2f")
        ),
    ]


def _assigned(process: Process) -> float:
    """Seconds until the worker logged its partitions."""
    for line in process.output.read_text().splitlines():
        if line.startswith("{") and "partitions assigned" in line:
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() - process.began_at
    raise NotMeasured("the worker has logged no assignment")


def latency(bench: Bench, *, runs: int, jobs: int = 320, rate: int = 50) -> list[Row]:
    """Milliseconds from the dispatch to the start of a job at a steady rate; the first 20 warm up."""
    found: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for run in range(runs):
        for kind in found:
            topic = bench.topic(f"latency-{kind}")
            bench.stamps.clear()
            process = bench.bare(topic, topic, jobs) if kind == "bare" else bench.worker(topic, topic, "-q")
            try:
                sent = _send(bench, topic, jobs, rate)
                _await(bench, jobs)
            finally:
                process.stop()
            waits = [(bench.stamps.get(START + n) - sent[n]) * 1000 for n in range(20, jobs)]
            found[kind].append(waits)
            bench.record("latency", kind=kind, run=run, milliseconds=[round(wait, 3) for wait in waits])
    rows = []
    for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
        ours, bare = ([quantile(waits, part) for waits in found[kind]] for kind in ("ours", "bare"))
        more = statistics.median(ours) - statistics.median(bare)
        what = f"dispatch to start at {rate}/s, {name}, ms"
        rows.append(Row(what, spread(ours, ".1f"), spread(bare, ".1f"), f"{more:+.1f} ms"))
    return rows


def busy_latency(bench: Bench, *, runs: int, seconds: float = 5.0) -> list[Row]:
    """Milliseconds from the dispatch to the start of a job, at a half and a quarter of what the worker can do."""
    backlog = bench.topic("busy-backlog")
    bench.fill(backlog, noops(100_000))
    bench.stamps.clear()
    bench.worker(backlog, backlog, *DRAIN, "-q").wait(120)
    most = bench.stamps.rate()
    rows = []
    for name, rate in (("half", int(most / 2)), ("quarter", int(most / 4))):
        rows.extend(_latency_at(bench, name, rate, runs, seconds))
    return rows


def _latency_at(bench: Bench, speed: str, rate: int, runs: int, seconds: float) -> list[Row]:
    found: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    sent_at = []
    for run in range(runs):
        for kind in found:
            topic = bench.topic(f"busy-{kind}")
            bench.stamps.clear()
            process = bench.bare(topic, topic, 10**9) if kind == "bare" else bench.worker(topic, topic, "-q")
            try:
                sent_at.append(_flood(bench, topic, rate, seconds))
            finally:
                process.kill()
            values = [bench.stamps.latency(part) * 1000 for part in (0.5, 0.99, 0.999)]
            found[kind].append(values)
            bench.record("busy", kind=kind, run=run, wanted=rate, sent=sent_at[-1], milliseconds=values)
    reached = f"{statistics.median(sent_at):,.0f} jobs/s sent; a {speed} of its own backlog rate is {rate:,}"
    rows = []
    for place, name in enumerate(("p50", "p99", "p99.9")):
        ours, bare = ([values[place] for values in found[kind]] for kind in ("ours", "bare"))
        more = f"{statistics.median(ours) - statistics.median(bare):+.1f} ms; {reached}"
        what = f"dispatch to start at {speed} speed, {name}, ms"
        rows.append(Row(what, spread(ours, ".1f"), spread(bare, ".1f"), more))
    return rows


def _flood(bench: Bench, topic: str, rate: int, seconds: float) -> float:
    """Send jobs at a rate, as well as this process can; the rate that came of it."""
    producer = Producer({"bootstrap.servers": bench.brokers, "linger.ms": 1, "queue.buffering.max.messages": 1_000_000})
    producer.list_topics(topic)
    head, tail = payload("bench.sent", {"at": 0.5}).split(b"0.5", 1)
    producer.produce(topic, head + b"%.6f" % time.monotonic() + tail)
    producer.flush(10)
    until = time.monotonic() + 30
    while not bench.stamps.get(COUNT) and time.monotonic() < until:
        time.sleep(0.02)
    bench.stamps.clear()
    began, sent = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        behind = int((now - began) * rate) - sent
        value = head + b"%.6f" % now + tail
        for number in range(min(behind, 500)):
            producer.produce(topic, value, b"%d" % number)
        sent += max(0, min(behind, 500))
        producer.poll(0)
        if behind < 50:
            time.sleep(0.0005)
    producer.flush(10)
    until = time.monotonic() + 10
    while bench.stamps.get(COUNT) < sent and time.monotonic() < until:
        time.sleep(0.02)
    if bench.stamps.get(COUNT) < sent:
        raise NotMeasured(f"{bench.stamps.get(COUNT):,.0f} of {sent:,} jobs ran")
    return sent / seconds


def _send(bench: Bench, topic: str, jobs: int, rate: int) -> list[float]:
    producer = Producer({"bootstrap.servers": bench.brokers, "linger.ms": 0})
    producer.list_topics(topic)
    messages = [payload("bench.timed", {"number": number}) for number in range(jobs)]
    sent: list[float] = []
    # The first job waits for the consumer to join; only then does the rate begin.
    for number, message in enumerate(messages):
        if number == 1:
            _await(bench, 1)
            began = time.monotonic() - 1 / rate
        if number:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        sent.append(time.monotonic())
        producer.produce(topic, message, b"%d" % number)
        producer.poll(0)
    producer.flush(10)
    return sent


def _await(bench: Bench, jobs: int) -> None:
    until = time.monotonic() + 30
    while not all(bench.stamps.get(START + number) for number in range(jobs)):
        if time.monotonic() > until:
            raise NotMeasured("jobs are missing")
        time.sleep(0.02)


def console(bench: Bench, *, runs: int) -> list[Row]:
    """CPU seconds of commands that deploy scripts call."""
    rows = []
    for command in ("list", "queue:restart"):
        bench.artisan("noop", command)  # writes the byte code
        used = [bench.artisan("noop", command).cpu for _ in range(runs)]
        bench.record("cli", command=command, seconds=used)
        rows.append(Row(f"CPU s of `{command}`", spread(used, ".2f"), "", "at most 0.25"))
    return rows


def _expect(bench: Bench, jobs: int) -> None:
    done = bench.stamps.get(COUNT)
    if done != jobs:
        raise NotMeasured(f"{done:,.0f} of {jobs:,} jobs ran")
