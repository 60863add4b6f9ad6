"""`python -m benchmarks`: one command, one table."""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import confluent_kafka

from benchmarks import data_store, measures, services, slots
from benchmarks.bench import ROOT, Bench
from benchmarks.broker import kafka
from benchmarks.connections import connections
from benchmarks.dispatching import dispatching
from benchmarks.peers import peers
from benchmarks.report import HEAD, NotMeasured, Row

PARTS = (
    "fields",
    "worker",
    "guarantees",
    "partitions",
    "memory",
    "first",
    "latency",
    "busy",
    "slots",
    "dispatch",
    "cli",
    "datastore",
    "peers",
    "connections",
)
WITHOUT_KAFKA = {"connections", "cli"}


def main() -> None:
    """Measure what is asked for, and print the table."""
    options = arguments()
    results = ROOT / "benchmarks/results"
    results.mkdir(exist_ok=True)
    raw = results / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}.jsonl"
    needs_kafka = bool(set(options.only) - WITHOUT_KAFKA)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        brokers, version = stack.enter_context(kafka(Path(folder), options.nodes)) if needs_kafka else ("", "not used")
        bench = Bench(Path(folder), brokers, raw, replicas=options.nodes)
        note = surroundings(version, options)
        bench.record("surroundings", note=note)
        if not options.json:
            print(HEAD, flush=True)
        for name in options.only:
            for row in measured(bench, name, options):
                bench.record("row", **dataclasses.asdict(row))
                print(json.dumps(dataclasses.asdict(row)) if options.json else row.as_markdown(), flush=True)
        if not options.json:
            print(f"\n{note}")


def arguments() -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Lamplighter beside a bare loop and peers."
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--jobs", type=int, default=300_000, help="jobs without work; memory takes 10/3 of them")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=5_000, help="of the Data Store")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1, help="brokers, and replicas of each topic")
    parser.add_argument("--stores", default="", help="some of redis,postgresql,sqlite,beanstalkd, for connections")
    parser.add_argument("--json", action="store_true", help="one JSON object a row instead of the table")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    options.stores = [name for name in options.stores.split(",") if name]
    unknown = sorted(set(options.only) - set(PARTS))
    if unknown:
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(unknown)}")
    if options.runs < 1 or options.jobs < 1 or options.events < 2:
        parser.error("--runs and --jobs are at least 1, --events at least 2")
    return options


def measured(bench: Bench, name: str, options: argparse.Namespace) -> list[Row]:
    """The rows of one part; one with the reason where it came to nothing."""
    few = min(options.runs, 3)
    parts: dict[str, Callable[[], list[Row]]] = {
        "fields": lambda: measures.fields(bench, jobs=options.jobs, runs=options.runs),
        "worker": lambda: measures.throughput(bench, jobs=options.jobs, runs=options.runs),
        "guarantees": lambda: measures.guarantees(bench, jobs=options.jobs, runs=few),
        "partitions": lambda: slots.partitions(bench, jobs=options.jobs, runs=few),
        "slots": lambda: slots.slots(bench, runs=few),
        "dispatch": lambda: dispatching(bench, runs=few),
        "memory": lambda: measures.memory(bench, jobs=options.jobs * 10 // 3),
        "first": lambda: measures.first_job(bench, runs=options.runs),
        "latency": lambda: measures.latency(bench, runs=few),
        "busy": lambda: measures.busy_latency(bench, runs=few),
        "cli": lambda: measures.console(bench, runs=options.runs),
        "datastore": lambda: data_store.data_store(
            bench, events=options.events, runs=few, postgres=os.environ.get("BENCH_POSTGRES_URL")
        ),
        "peers": lambda: peers(bench, runs=few),
        "connections": lambda: connections(bench, jobs=options.jobs, runs=few, only=options.stores),
    }
    try:
        return parts[name]()
    except NotMeasured as reason:
        return [Row(name, f"not measured: {reason}")]
    finally:
        bench.clean()


def surroundings(kafka_version: str, options: argparse.Namespace) -> str:
    """Where the figures come from."""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    few = min(options.runs, 3)
    servers = f", {services.versions()}" if "connections" in options.only else ""
    nodes = f" on {options.nodes} nodes" if options.nodes > 1 else ""
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {os.cpu_count()} cores, {processor()}{load}; "
        f"CPython {platform.python_version()}, librdkafka {confluent_kafka.libversion()[0]}, Kafka {kafka_version}"
        f"{nodes}{servers}. Median (least to most) of {options.runs} runs, of {few} for latency, Data Store, peers "
        f"and connections; one run for memory."
    )


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
