"""`scripts/kafka`: a cluster that does not come up."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT, Broker, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_one_that_does_not_come_up_leaves_nothing_in_the_way_of_the_next(tmp_path: Path, kafka: Broker) -> None:
    port = str(free_ports(2))
    environment = {**os.environ, "KAFKA_DIR": str(tmp_path), "KAFKA_PORT": port, "KAFKA_HEAP": "1k"}
    script = str(ROOT / "scripts/kafka")

    done = subprocess.run([script, "up"], env=environment, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 1
    assert "node 1 ended while starting" in done.stderr
    assert not (tmp_path / "nodes").exists()
