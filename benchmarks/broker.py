"""The Kafka that is measured on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import ROOT
from benchmarks.services import free_port

SCRIPT = ROOT / "scripts/kafka"
PATIENCE = 600  # seconds; the first start fetches Kafka's jars


@contextmanager
def kafka(folder: Path, nodes: int) -> Iterator[tuple[str, str]]:
    """The brokers of BENCH_BROKERS, or some of our own; with their version."""
    given = os.environ.get("BENCH_BROKERS")
    if given:
        yield given, os.environ.get("BENCH_KAFKA_VERSION") or _version_of(given)
        return
    environment = {**os.environ, "KAFKA_DIR": str(folder / "kafka"), "KAFKA_PORT": str(free_port())}
    status, said = _script("up", environment, str(nodes))
    try:
        if status != 0:
            sys.exit(f"{said}\nThe benchmark needs a Kafka: name one in BENCH_BROKERS.")
        yield said.splitlines()[-1], _script("version", environment)[1]
    finally:
        _script("down", environment)


def _version_of(brokers: str) -> str:
    """What scripts/kafka says of its own; others can't be asked."""
    status, said = _script("brokers", dict(os.environ))
    return _script("version", dict(os.environ))[1] if status == 0 and said == brokers else "of BENCH_BROKERS"


def _script(command: str, environment: dict[str, str], *more: str) -> tuple[int, str]:
    done = subprocess.run(
        [SCRIPT, command, *more], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()
