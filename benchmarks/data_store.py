"""The Data Store's creates per second, to rows and acknowledged answers, beside a loop written by hand."""

import uuid

from benchmarks.bench import Bench, payload
from benchmarks.report import NotMeasured, Row, ratio, spread

PATIENCE = 300  # seconds for one run
OURS = {"store": "many a transaction", "single": "one a transaction"}
BY_HAND = {"session": "by a session", "driver": "by the driver"}


def data_store(bench: Bench, *, events: int, runs: int, postgres: str | None) -> list[Row]:
    """Events per second on each database that is there."""
    rows = _compare(bench, events, runs, "SQLite", {"DB_DATABASE": str(bench.folder / "store.sqlite")})
    if postgres:
        rows.extend(_compare(bench, events, runs, "PostgreSQL", {"DB_CONNECTION": "pgsql", "DB_URL": postgres}))
    else:
        rows.append(Row("Data Store events/s, PostgreSQL", "left out: BENCH_POSTGRES_URL is not set"))
    return rows


def _compare(bench: Bench, events: int, runs: int, name: str, environment: dict[str, str]) -> list[Row]:
    bench.artisan("store", "migrate", "--force", **environment)
    rates: dict[str, list[float]] = {kind: [] for kind in (*OURS, *BY_HAND)}
    for run in range(runs):
        for kind, found in rates.items():
            found.append(_rate(bench, events, kind, environment))
            bench.record("datastore", database=name, kind=kind, run=run, events=events, rate=found[-1])
    return [
        Row(
            f"Data Store events/s, {name}, {how}",
            spread(rates[kind]),
            spread(rates[loop]),
            f"{ratio(rates[kind], rates[loop])} of the loop {by}",
        )
        for kind, how in OURS.items()
        for loop, by in BY_HAND.items()
    ]


def _rate(bench: Bench, events: int, kind: str, environment: dict[str, str]) -> float:
    topic, answers = bench.topic(f"store-{kind}"), bench.topic(f"api-{kind}")
    bench.fill(topic, (_create(number) for number in range(events)))
    if kind in OURS:
        more = {**environment, "KAFKA_API_QUEUE": answers}
        process = bench.worker(topic, topic, "--stop-when-empty", "--sleep=1", "-q", project=kind, **more)
    else:
        database = environment.get("DB_URL") or environment["DB_DATABASE"]
        program = ("-m", "benchmarks.hand_written_store", bench.brokers, topic, answers, str(events), database, kind)
        process = bench.python(*program, topic=topic)
    process.wait(PATIENCE)
    count, seconds = bench.span(answers)
    if count != events:
        raise NotMeasured(f"{kind}: {count:,} answers to {events:,} events")
    return (count - 1) / seconds


def _create(number: int) -> tuple[bytes, bytes]:
    key = str(uuid.uuid4()).encode()
    return key, payload("job.data.store", {"type": "taxonomy", "values": {"name": f"Word {number}"}})
