"""Jobs beside each other: waiting ones in threads and in one loop, computing ones in processes; and more partitions."""

from benchmarks.bench import Bench, fours, many
from benchmarks.report import NotMeasured, Row, ratio, spread
from benchmarks.stamps import COUNT, Stamps

DRAIN = ("--stop-when-empty", "--sleep=1", "-q")
SLOTS = (1, 2, 4)
PARTITIONS = (1, 16, 64)


def slots(bench: Bench, *, runs: int) -> list[Row]:
    """Jobs per second of each pool."""
    waiting = [
        ("bench.wait_async", "async", 16, 40_000, "at least 10,000"),
        ("bench.wait", "thread", 16, 30_000, "at least 6,000"),
    ]
    rows = []
    for job, pool, count, jobs, goal in waiting:
        rates = [_rate(bench, job, jobs, f"--pool={pool}", f"-c{count}") for _ in range(runs)]
        bench.record("slots", pool=pool, slots=count, job=job, rates=rates)
        rows.append(Row(f"1 ms waiting jobs/s, {count} {pool} slots", spread(rates), f"{count * 1000:,}", goal))
    for job, jobs, what in (("bench.noop", 20_000, "no-op"), ("bench.compute", 4_000, "1 ms computing")):
        for count in SLOTS:
            rates = [_rate(bench, job, jobs, "--pool=process", f"-c{count}") for _ in range(runs)]
            bench.record("slots", pool="process", slots=count, job=job, rates=rates)
            rows.append(Row(f"{what} jobs/s, {count} process slot{'s' if count > 1 else ''}", spread(rates)))
    return rows


def _rate(bench: Bench, job: str, jobs: int, *options: str) -> float:
    topic = bench.topic("slots", partitions=4)
    bench.fill(topic, many(job, jobs))
    for left in bench.folder.glob("stamps.*"):
        left.unlink()
    bench.stamps.clear()
    bench.worker(topic, topic, *DRAIN, *options, STAMPS_EACH="1").wait(300)
    for path in bench.folder.glob("stamps.*"):
        bench.stamps.add(Stamps(path))
    if bench.stamps.get(COUNT) != jobs:
        raise NotMeasured(f"{bench.stamps.get(COUNT):,.0f} of {jobs:,} jobs ran")
    return bench.stamps.rate()


def partitions(bench: Bench, *, jobs: int, runs: int) -> list[Row]:
    """Four-field jobs per second by the number of partitions, beside the loop on the same ones."""
    rows = []
    for count in PARTITIONS:
        topic = bench.topic(f"partitions-{count}", partitions=count)
        bench.fill(topic, fours(jobs))
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for run in range(runs):
            for kind in rates:
                bench.stamps.clear()
                group = f"{topic}-{kind}-{run}"
                process = bench.bare(topic, group, jobs) if kind == "bare" else bench.worker(topic, group, *DRAIN)
                process.wait(60 + jobs / 2000)
                rates[kind].append(bench.stamps.rate())
                bench.record("partitions", partitions=count, kind=kind, run=run, rate=rates[kind][-1])
        what = f"four-field jobs/s, -q, {count} partition{'s' if count > 1 else ''}"
        compared = f"{ratio(rates['ours'], rates['bare'])} of the loop" + ("; at least 0.5" if count > 16 else "")
        rows.append(Row(what, spread(rates["ours"]), spread(rates["bare"]), compared))
    return rows
