"""Other job queues, each installed into an environment of its own and run as its documentation says."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import services
from benchmarks.bench import ROOT, Bench, payload
from benchmarks.process import Process
from benchmarks.report import NotMeasured, Row, spread
from benchmarks.stamps import COUNT

VENV = ROOT / "benchmarks/.venv"
VENV_312 = ROOT / "benchmarks/.venv-3.12"  # for what needs a newer Python
REQUIREMENTS = ROOT / "benchmarks/requirements.txt"
REQUIREMENTS_312 = ROOT / "benchmarks/requirements-3.12.txt"
PATIENCE = 90  # seconds for one drain
CELERY = ("-A", "benchmarks.peer_celery", "worker", "-P", "solo", "--loglevel", "WARNING")


@dataclass(frozen=True)
class Peer:
    """A program of the environment, and what it works on; without `enqueue` the harness fills its topic."""

    name: str
    program: str
    arguments: tuple[str, ...]
    jobs: int
    on: str
    enqueue: str = ""
    venv: Path = VENV


PEERS = (
    Peer(
        "pyrallel-consumer, asyncio, key order, on Kafka",
        "python",
        ("-m", "benchmarks.peer_pyrallel"),
        40_000,
        "kafka",
        venv=VENV_312,
    ),
    Peer(
        "taskiq on a Redis stream, one process",
        "taskiq",
        ("worker", "benchmarks.peer_taskiq:broker", "-w", "1", "--log-level", "WARNING"),
        5_000,
        "redis",
        "benchmarks.peer_taskiq",
    ),
    Peer(
        "FastStream, AckPolicy.ACK, on Kafka", "faststream", ("run", "benchmarks.peer_faststream:app"), 10_000, "kafka"
    ),
    Peer(
        "Dramatiq on Redis, 8 threads",
        "dramatiq",
        ("benchmarks.peer_dramatiq", "-p", "1", "-t", "8"),
        5_000,
        "redis",
        "benchmarks.peer_dramatiq",
    ),
    Peer("Celery on Redis, acks_late, solo", "celery", CELERY, 5_000, "redis", "benchmarks.peer_celery"),
    Peer(
        "Celery on Kafka, acks_late, solo",
        "celery",
        (*CELERY, "--without-gossip", "--without-mingle"),
        5_000,
        "kafka",
        "benchmarks.peer_celery",
    ),
)


def peers(bench: Bench, *, runs: int) -> list[Row]:
    """No-op jobs per second of each peer, or why it has none."""
    reasons = {VENV: install_peers(), VENV_312: _install_312()}
    with _redis(bench.folder) as redis:
        return [_row(bench, peer, redis, runs, reasons[peer.venv]) for peer in PEERS]


def install_peers() -> str:
    """Install those that need no newer Python; the reason where one can't be."""
    return _install(VENV, sys.executable, REQUIREMENTS)


def _row(bench: Bench, peer: Peer, redis: str, runs: int, reason: str) -> Row:
    what = f"peer: {peer.name}, jobs/s"
    if not (peer.venv / "bin" / peer.program).exists():
        return Row(what, f"left out: {reason or 'it is not installed'}")
    if peer.on == "redis" and not redis:
        return Row(what, "left out: there is no redis-server")
    try:
        rates = [_drain(bench, peer, redis) for _ in range(runs)]
    except NotMeasured as error:
        return Row(what, f"not measured: {error}")
    bench.record("peer", name=peer.name, jobs=peer.jobs, rates=rates)
    return Row(what, "", spread(rates), f"{peer.jobs:,} jobs")


def _drain(bench: Bench, peer: Peer, redis: str) -> float:
    topic = bench.topic(peer.program)
    url = redis if peer.on == "redis" else f"confluentkafka://{bench.brokers}"
    environment = {
        **bench.environment(topic, topic),
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENCH_BROKER_URL": url,
        "BENCH_COUNT": str(peer.jobs),
    }
    output = bench.folder / f"{peer.program}.log"
    bench.stamps.clear()
    if peer.enqueue:
        Process([VENV / "bin/python", "-m", peer.enqueue], ROOT, environment, output).wait(PATIENCE)
    else:
        bench.fill(topic, ((b"%d" % n, payload("bench.noop", {"n": n})) for n in range(peer.jobs)))
    process = Process([peer.venv / "bin" / peer.program, *peer.arguments], bench.folder, environment, output)
    try:
        await_jobs(bench, peer.jobs, process)
    finally:
        process.stop(5)
    return bench.stamps.rate()


def await_jobs(bench: Bench, jobs: int, process: Process) -> None:
    """Wait until so many jobs have started."""
    until = time.monotonic() + PATIENCE
    while bench.stamps.get(COUNT) < jobs:
        if process.has_ended() or time.monotonic() > until:
            ended = "it ended" if process.has_ended() else f"{PATIENCE} s were over"
            raise NotMeasured(f"{bench.stamps.get(COUNT):,.0f} of {jobs:,} jobs ran, then {ended}")
        time.sleep(0.05)


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """The address of a Redis of our own; empty where there is none."""
    if shutil.which("redis-server") is None:
        yield ""
        return
    with services.redis(folder) as port:
        yield f"redis://127.0.0.1:{port}/0"


def _install(venv: Path, python: str, requirements: Path) -> str:
    """Install each line of the requirements that can be; the reason of the last one that can't."""
    stamp = venv / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    subprocess.run([python, "-m", "venv", venv], check=True)
    reason = ""
    for line in requirements.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        command = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", line]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"{line} can't be installed"])[-1]
    if not reason:
        stamp.write_text(wanted)
    return reason


def _install_312() -> str:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = [shutil.which("python3.12"), *sorted(map(str, root.glob("versions/3.12.*/bin/python")))]
    for python in filter(None, places):
        # A pyenv shim is there for versions that are not chosen, too; so it must run.
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return _install(VENV_312, python, REQUIREMENTS_312)
    return "it needs CPython 3.12"
