"""`python -m benchmarks`: one command, one table."""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

from benchmarks import measures
from benchmarks.bench import ROOT, Bench
from benchmarks.measures import Row
from benchmarks.peers import peers


def main() -> None:
    """Measure what is asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help="worker,memory,first,latency,console,store,peers")
    parser.add_argument("--jobs", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=5_000)
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(",")))
    with tempfile.TemporaryDirectory() as folder, kafka(Path(folder)) as (brokers, version):
        bench = Bench(Path(folder), brokers)
        parts: dict[str, Callable[[], list[Row]]] = {
            "worker": lambda: measures.throughput(bench, jobs=options.jobs, runs=options.runs),
            "memory": lambda: measures.memory(bench, jobs=options.jobs * 10 // 3),
            "first": lambda: measures.first_job(bench, runs=options.runs),
            "latency": lambda: measures.latency(bench),
            "console": lambda: measures.console(bench, runs=options.runs),
            "store": lambda: measures.data_store(
                bench, events=options.events, postgres=os.environ.get("BENCH_POSTGRES_URL")
            ),
            "peers": lambda: peers(bench),
        }
        print("| what | Lamplighter | bare loop, or by hand | compared |\n|---|--:|--:|---|")
        for name, measure in parts.items():
            if not wanted or name in wanted:
                for row in measure():
                    print(f"| {row.what} | {row.ours} | {row.limit} | {row.compared} |", flush=True)
    print(
        f"\n{datetime.date.today()}, {os.cpu_count()} cores, {processor()}, CPython {platform.python_version()}, ",
        end="",
    )
    print(
        f"librdkafka {confluent_kafka.libversion()[0]}, Kafka {version}; median (least to most) of {options.runs} runs."
    )


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@contextmanager
def kafka(folder: Path) -> Iterator[tuple[str, str]]:
    """The brokers of BENCH_BROKERS, or one of our own; with its version."""
    given = os.environ.get("BENCH_BROKERS")
    if given:
        yield given, os.environ.get("BENCH_KAFKA_VERSION", "of BENCH_BROKERS")
        return
    environment = {**os.environ, "KAFKA_DIR": str(folder / "kafka"), "KAFKA_PORT": "19592"}

    def script(command: str) -> str:
        done = subprocess.run(
            [ROOT / "scripts/kafka", command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"scripts/kafka {command}: {done.stderr}")
        return done.stdout.strip()

    brokers = script("up")
    try:
        yield brokers, script("version")
    finally:
        script("down")


main()
