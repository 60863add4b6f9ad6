"""`scripts/kafka`, where it says no: none of it needs Java."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT


def kafka(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script on a folder of the test's own."""
    return subprocess.run(
        [str(ROOT / "scripts/kafka"), *arguments],
        env={**os.environ, "KAFKA_DIR": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", [("brokers",), ("status",), ("kill", "1"), ("start", "1")])
def test_where_nothing_is_up_it_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = kafka(tmp_path, *command)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "kafka: nothing is up; run: kafka up\n"


@pytest.mark.parametrize("command", [("kill",), ("start", "2"), ("freeze", "x")])
def test_a_node_that_is_not_there_is_asked_for(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "nodes").write_text("1\n")

    done = kafka(tmp_path, *command)

    assert done.returncode == 1
    assert done.stderr == "kafka: which node? They have the numbers 1 to 1\n"


@pytest.mark.parametrize("count", ["0", "2", "many"])
def test_a_cluster_of_another_size_is_refused(tmp_path: Path, count: str) -> None:
    done = kafka(tmp_path, "up", count)

    assert done.returncode == 1
    assert "1 or 3 nodes" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("further", [0, 1], ids=["the clients' port", "the controller's port"])
def test_a_port_that_is_taken_is_named_before_anything_is_made(tmp_path: Path, further: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        done = kafka(tmp_path, "up", KAFKA_PORT=str(port - further))

    assert done.returncode == 1
    assert done.stderr == f"kafka: port {port} is taken; set KAFKA_PORT\n"
    assert list(tmp_path.iterdir()) == []
