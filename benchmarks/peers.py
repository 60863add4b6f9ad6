"""Other job queues, each installed into an environment of its own and run as its documentation says."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import ROOT, Bench, payload
from benchmarks.measures import Row
from benchmarks.stamps import COUNT

VENV = ROOT / "benchmarks/.venv"
PACKAGES = ("celery[redis]", "dramatiq[redis]", "faststream[confluent,cli]", "confluent-kafka")
COUNTS = {"FastStream, AckPolicy.ACK": 10_000, "Dramatiq on Redis": 5_000, "Celery on Redis, acks_late": 5_000}


def peers(bench: Bench) -> list[Row]:
    """No-op jobs per second of each peer, or why it has none."""
    if shutil.which("redis-server") is None:
        return [Row("peers", "left out: there is no redis-server", "", "")]
    reason = _install()
    if reason:
        return [Row("peers", f"left out: {reason}", "", "")]
    with _redis(bench.folder) as redis:
        return [
            _drain(bench, "FastStream, AckPolicy.ACK", "faststream", ["run", "benchmarks.peer_faststream:app"], redis),
            _drain(bench, "Dramatiq on Redis", "dramatiq", ["benchmarks.peer_dramatiq", "-p", "1", "-t", "8"], redis),
            _drain(bench, "Celery on Redis, acks_late", "celery", [*CELERY], redis),
        ]


CELERY = ("-A", "benchmarks.peer_celery", "worker", "-P", "solo", "--loglevel", "WARNING")


def _drain(bench: Bench, name: str, program: str, arguments: list[str], redis: str) -> Row:
    count = COUNTS[name]
    topic = bench.topic(program)
    environment = {**bench.environment(topic, topic), "BENCH_REDIS": redis, "BENCH_COUNT": str(count)}
    bench.stamps.clear()
    if program == "faststream":
        bench.fill(topic, ((b"%d" % n, payload("bench.noop", {"n": n})) for n in range(count)))
    else:
        subprocess.run(
            [VENV / "bin/python", "-m", f"benchmarks.peer_{program}"],
            cwd=ROOT,
            env=environment,
            check=True,
            timeout=120,
        )
    with (bench.folder / f"{program}.log").open("w") as output:
        process = subprocess.Popen(
            [VENV / "bin" / program, *arguments], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    until = time.monotonic() + 90
    while bench.stamps.get(COUNT) < count and time.monotonic() < until:
        time.sleep(0.05)
    done = bench.stamps.get(COUNT)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
    if done < count:
        return Row(f"peer: {name}, jobs/s", f"{done:.0f} of {count} jobs ran", "", "")
    return Row(f"peer: {name}, jobs/s", f"{bench.stamps.rate():,.0f}", "", f"{count:,} jobs")


def _install() -> str:
    if (VENV / "installed").exists():
        return ""
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    done = subprocess.run(
        [VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        (VENV / "installed").touch()
    return (done.stderr.strip().splitlines() or ["the packages could not be installed"])[-1] if done.returncode else ""


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_port(int(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def _await_port(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing answers on port {port}")
