"""The heartbeat."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lamplighter.queue.health import Heartbeat, read_health


def test_a_worker_that_beats_is_healthy(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, "kafka", ["store"])
    heartbeat.beat("worker")

    heartbeat.write()

    (health,) = read_health(tmp_path)
    assert (health.pid, health.queues, health.late(30)) == (os.getpid(), ("store",), [])


def test_a_thread_that_stands_still_is_named(tmp_path: Path) -> None:
    Heartbeat(tmp_path, "kafka", ["store"]).write()
    file = tmp_path / f"{os.getpid()}.json"
    fields = json.loads(file.read_text())
    fields["beats"]["polling"] = time.time() - 60

    file.write_text(json.dumps(fields))

    assert read_health(tmp_path)[0].late(30) == ["polling"]


def test_the_files_of_the_dead_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(10)
    (tmp_path / "1.json").write_text("garbage")
    fields = {"pid": process.pid, "created": time.time(), "connection": "k", "queues": [], "beats": {}}
    (tmp_path / "2.json").write_text(json.dumps(fields))

    assert read_health(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_another_process_with_the_same_number_is_not_the_worker(tmp_path: Path) -> None:
    Heartbeat(tmp_path, "kafka", ["store"]).write()
    file = tmp_path / f"{os.getpid()}.json"
    fields = json.loads(file.read_text())

    file.write_text(json.dumps({**fields, "created": fields["created"] - 100}))

    assert read_health(tmp_path) == []


def test_a_worker_that_ends_removes_its_file(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, "kafka", ["store"])
    heartbeat.write()

    heartbeat.remove()

    assert read_health(tmp_path) == []
