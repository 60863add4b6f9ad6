"""The heartbeat."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lamplighter.console.output import Output
from lamplighter.errors import QueueError
from lamplighter.foundation.application import Application
from lamplighter.queue.commands.health import HealthCommand
from lamplighter.queue.guard.health import Heartbeat, read_health


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
    fields["ticks"]["polling"] -= 60

    file.write_text(json.dumps(fields))

    assert read_health(tmp_path)[0].late(30) == ["polling"]


def test_a_heartbeat_that_can_not_be_read_stays_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "7.json").mkdir()  # root may read any file

    with pytest.raises(QueueError, match=r"7\.json can't be read: Is a directory"):
        read_health(tmp_path)

    assert (tmp_path / "7.json").exists()


def test_a_heartbeat_that_can_not_be_written_is_told_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "storage/workers"
    heartbeat = Heartbeat(folder, "kafka", ["store"])
    counts = []
    for _ in range(2):
        (tmp_path / "storage").write_text("no folder")
        for _ in range(3):
            heartbeat.write()
        heartbeat.remove()
        counts.append(caplog.text.count("the heartbeat can't be written"))
        (tmp_path / "storage").unlink()
        heartbeat.write()
        assert len(read_health(folder)) == 1
        heartbeat.remove()
        shutil.rmtree(tmp_path / "storage")

    assert counts == [1, 2]


def test_the_files_of_the_dead_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(10)
    (tmp_path / "1.json").write_text("garbage")
    fields = {"pid": process.pid, "started": 0.0, "connection": "k", "queues": [], "beats": {}}
    (tmp_path / "2.json").write_text(json.dumps(fields))

    assert read_health(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_another_process_with_the_same_number_is_not_the_worker(tmp_path: Path) -> None:
    Heartbeat(tmp_path, "kafka", ["store"]).write()
    file = tmp_path / f"{os.getpid()}.json"
    fields = json.loads(file.read_text())

    file.write_text(json.dumps({**fields, "started": fields["started"] - 100}))

    assert read_health(tmp_path) == []


def test_a_worker_that_ends_removes_its_file(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, "kafka", ["store"])
    heartbeat.write()

    heartbeat.remove()

    assert read_health(tmp_path) == []


def test_a_clock_that_is_set_makes_no_worker_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Heartbeat(tmp_path, "kafka", ["store"]).write()
    boot, created = psutil.boot_time(), psutil.Process().create_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 100)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created + 100)

    found = read_health(tmp_path)

    assert [health.pid for health in found] == [os.getpid()]


@pytest.mark.parametrize("shift", [-3600, 3600])
def test_a_clock_that_is_set_changes_no_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    Heartbeat(tmp_path, "kafka", ["store"]).write()
    wall, clock = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: wall() + shift + 45)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 45)

    [health] = read_health(tmp_path)

    assert health.late(30) == ["worker", "polling"]
    assert health.late(60) == []


@pytest.mark.parametrize("ahead", [3600.0, float("nan")])
def test_a_beat_of_an_earlier_version_that_is_still_to_come_is_late(tmp_path: Path, ahead: float) -> None:
    Heartbeat(tmp_path, "kafka", ["store"]).write()
    file = tmp_path / f"{os.getpid()}.json"
    fields = json.loads(file.read_text())
    del fields["ticks"]
    fields["beats"]["polling"] += ahead

    file.write_text(json.dumps(fields))

    assert read_health(tmp_path)[0].late(30) == ["polling"]


def run_command(base: Path, seconds: float = 30) -> tuple[int, str]:
    """The exit code of queue:health, and what it says."""
    command = HealthCommand(Application(base))
    screen = io.StringIO()
    command.output = Output(screen)
    return command.handle(seconds), screen.getvalue()


def test_the_command_fails_where_no_worker_runs(tmp_path: Path) -> None:
    status, said = run_command(tmp_path)

    assert (status, "No worker runs" in said) == (1, True)


def test_the_command_succeeds_where_all_threads_beat(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "storage/framework/workers", "kafka", ["store"]).write()

    status, said = run_command(tmp_path)

    assert (status, "1 worker is alive" in said) == (0, True)


def test_the_command_names_the_thread_that_is_late(tmp_path: Path) -> None:
    folder = tmp_path / "storage/framework/workers"
    Heartbeat(folder, "kafka", ["store"]).write()
    file = folder / f"{os.getpid()}.json"
    fields = json.loads(file.read_text())
    fields["ticks"]["polling"] -= 60
    file.write_text(json.dumps(fields))

    status, said = run_command(tmp_path)

    assert status == 1
    assert str(os.getpid()) in said
    assert "polling" in said
    assert "worker for" not in said
