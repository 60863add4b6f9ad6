"""The Data Store's creates per second, to rows and acknowledged answers, beside a loop written by hand."""

import uuid

from benchmarks.bench import Bench, payload
from benchmarks.report import NotMeasured, Row, ratio, spread

PATIENCE = 300  # seconds for one run


def data_store(bench: Bench, *, events: int, runs: int, postgres: str | None) -> list[Row]:
    """Events per second on each database that is there."""
    rows = [_compare(bench, events, runs, "SQLite", {"DB_DATABASE": str(bench.folder / "store.sqlite")})]
    if postgres:
        rows.append(_compare(bench, events, runs, "PostgreSQL", {"DB_CONNECTION": "pgsql", "DB_URL": postgres}))
    else:
        rows.append(Row("Data Store events/s, PostgreSQL", "left out: BENCH_POSTGRES_URL is not set"))
    return rows


def _compare(bench: Bench, events: int, runs: int, name: str, environment: dict[str, str]) -> Row:
    bench.artisan("store", "migrate", "--force", **environment)
    rates: dict[str, list[float]] = {"ours": [], "hand": []}
    for run in range(runs):
        for kind in rates:
            rates[kind].append(_rate(bench, events, kind, environment))
            bench.record("datastore", database=name, kind=kind, run=run, events=events, rate=rates[kind][-1])
    compared = f"{ratio(rates['ours'], rates['hand'])} of the loop"
    return Row(f"Data Store events/s, {name}", spread(rates["ours"]), spread(rates["hand"]), compared)


def _rate(bench: Bench, events: int, kind: str, environment: dict[str, str]) -> float:
    topic, answers = bench.topic(f"store-{kind}"), bench.topic(f"api-{kind}")
    bench.fill(topic, (_create(number) for number in range(events)))
    if kind == "ours":
        more = {**environment, "KAFKA_API_QUEUE": answers}
        process = bench.worker(topic, topic, "--stop-when-empty", "--sleep=1", "-q", project="store", **more)
    else:
        database = environment.get("DB_URL") or environment["DB_DATABASE"]
        program = ("-m", "benchmarks.hand_written_store", bench.brokers, topic, answers, str(events), database)
        process = bench.python(*program, topic=topic)
    process.wait(PATIENCE)
    count, seconds = bench.span(answers)
    if count != events:
        raise NotMeasured(f"{kind}: {count:,} answers to {events:,} events")
    return (count - 1) / seconds


def _create(number: int) -> tuple[bytes, bytes]:
    key = str(uuid.uuid4()).encode()
    return key, payload("job.data.store", {"type": "taxonomy", "values": {"name": f"Word {number}"}})
