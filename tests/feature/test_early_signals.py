"""Signals that reach a worker, its slots or its listener before they have booted."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lamplighter.testing.project import CONNECTION, Project
from lamplighter.testing.waiting import wait_for

pytestmark = pytest.mark.slow

# Stands still where a test has made a file, until that is gone; in `seen` is which processes stood there.
STANDS = """
import os
import time
from pathlib import Path

folder = Path(os.environ["PROBES"])
if {where} and (folder / "stand").exists():
    with (folder / "seen").open("a") as seen:
        seen.write(f"{{os.getpid()}}\\n")
    while (folder / "stand").exists():
        time.sleep(0.01)
"""
IN_A_SLOT = "'lamplighter.queue.pools.process.main' in sys.orig_argv"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose processes stand still while they boot, and slots before they have imported anything."""
    files = {
        "config/stands.py": STANDS.format(where=True) + "\nconfig = {}\n",
        "early/sitecustomize.py": "import sys\n" + STANDS.format(where=IN_A_SLOT),
    }
    project = Project(tmp_path / "project", {"driver": "memory"}, files=files)
    yield project
    project.close()


def stand(project: Project, *, goes_on: bool = False) -> None:
    """Let processes stand still from now on, or go on."""
    place = project.folder / "stand"
    if goes_on:
        place.unlink()
    else:
        place.touch()


def standing(project: Project, count: int = 1) -> list[psutil.Process]:
    """The processes that stand still, when there are so many."""
    seen = project.folder / "seen"
    wait_for(lambda: seen.exists() and seen.read_text().count("\n") >= count, what="processes that stand still")
    return [psutil.Process(int(line)) for line in seen.read_text().split()]


def signals_of(process: int, which: str) -> int:
    """A set of signals that the kernel shows of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{which}:")).split()[1], 16)


def log_of(project: Project) -> str:
    """What the workers have written."""
    return (project.folder / "worker.log").read_text()


def test_a_pause_that_comes_while_a_worker_boots_counts_when_it_has(project: Project) -> None:
    stand(project)
    worker = project.worker("--stop-when-empty", queues=("jobs",))
    [booting] = standing(project)

    booting.send_signal(signal.SIGUSR2)
    stand(project, goes_on=True)

    wait_for(lambda: "worker paused by USR2" in log_of(project), what="the worker is paused")
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(20) == 0, log_of(project)


def test_a_worker_that_may_go_on_before_it_has_booted_is_not_paused(project: Project) -> None:
    stand(project)
    worker = project.worker("--stop-when-empty", queues=("jobs",))
    [booting] = standing(project)

    booting.send_signal(signal.SIGUSR2)
    wait_for(lambda: not signals_of(booting.pid, "ShdPnd"), what="it has got the signal")
    booting.send_signal(signal.SIGCONT)
    stand(project, goes_on=True)

    assert worker.wait(20) == 0, log_of(project)


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_to_the_whole_service_ends_no_slot_that_boots(project: Project, number: signal.Signals) -> None:
    project.environment["PYTHONPATH"] = f"{project.folder / 'early'}{os.pathsep}{project.environment['PYTHONPATH']}"
    worker = project.worker("--pool=process", "-c2", queues=("jobs",))
    wait_for(lambda: len(psutil.Process(worker.pid).children()) == 2, what="slots")
    for slot in psutil.Process(worker.pid).children():
        slot.kill()
    stand(project)
    booting = standing(project, 2)

    for slot in booting:
        slot.send_signal(number)
    stand(project, goes_on=True)

    slots = {slot.pid for slot in booting}
    wait_for(lambda: not any(signals_of(slot, "SigBlk") for slot in slots), what="they handle signals")
    assert {child.pid for child in psutil.Process(worker.pid).children()} == slots
    worker.terminate()
    assert worker.wait(20) == 0, log_of(project)


def test_a_process_for_a_background_job_is_not_ended_by_a_pause(project: Project) -> None:
    stand(project)
    process = subprocess.Popen(
        [sys.executable, "artisan.py", "queue:background"],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    [booting] = standing(project)

    booting.send_signal(signal.SIGUSR2)
    stand(project, goes_on=True)

    told, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "starts this command" in told


def test_a_listener_passes_pauses_on_and_a_worker_that_starts_anew_stays_paused(project: Project) -> None:
    log = project.folder / "worker.log"
    stand(project)
    with log.open("w") as output:
        listener = subprocess.Popen(
            [sys.executable, "artisan.py", "queue:listen", CONNECTION, "--queue=jobs"],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        standing(project)
        listener.send_signal(signal.SIGUSR2)
        stand(project, goes_on=True)
        wait_for(lambda: log.read_text().count("worker paused by USR2") == 1, what="the worker is paused")
        (project.folder / ".env").write_text("APP_NAME=Other\n")
        wait_for(lambda: log.read_text().count("worker paused by USR2") == 2, what="the next one is, too")

        listener.send_signal(signal.SIGCONT)

        wait_for(lambda: "worker takes jobs again" in log.read_text(), what="it goes on")
    finally:
        listener.terminate()
        assert listener.wait(20) == 0, log.read_text()
