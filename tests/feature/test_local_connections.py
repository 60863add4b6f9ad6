"""Connections without a store, in a project as somebody would have it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PROBE_JOBS, Project

pytestmark = [pytest.mark.slow, pytest.mark.long]

COMMANDS = '''
"""A command that defers jobs, and the provider that brings it."""

from lamplighter import Command, CommandEntry, Dispatcher, ServiceProvider


class DeferCommand(Command):
    """Defers three jobs."""

    name = "defer"
    description = "Defer three jobs"

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def handle(self, code: int = 0) -> int:
        for n in range(3):
            self._dispatcher.push("probe", {"n": n, "fail_until": n % 2}, connection="deferred")
        self.output.line("dispatched")
        return code


class Provider(ServiceProvider):
    """Brings the command."""

    def register(self) -> None:
        self.commands(CommandEntry("defer", "Defer three jobs", "commands:DeferCommand"))
'''


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with a database."""
    project = Project(tmp_path, environment={"QUEUE_CONNECTION": "sync", "DB_CONNECTION": "sqlite"})
    (tmp_path / "commands.py").write_text(COMMANDS)
    project.provide("commands:Provider")
    project.artisan("migrate", "--force")
    yield project
    project.close()


def test_what_a_command_defers_runs_at_its_end_and_failures_are_recorded(project: Project) -> None:
    done = project.artisan("defer")

    assert (done.returncode, done.stdout) == (0, "dispatched\n"), done.stderr
    assert [event["n"] for event in project.events("end")] == [0, 2]
    failed = project.artisan("queue:failed")
    assert "deferred@default" in failed.stdout, failed.stdout


def test_what_a_command_has_deferred_that_fails_is_dropped(project: Project) -> None:
    done = project.artisan("defer", "--code=3", check=False)

    assert done.returncode == 3
    assert project.events("start") == []
    assert "deferred jobs are dropped" in done.stderr


BACKGROUND = """
import os, signal, sys, time
from bootstrap.app import create_app
from lamplighter import Dispatcher
application = create_app().bootstrap()
push = application.make(Dispatcher).push

def until(is_so):
    end = time.monotonic() + 50
    while not (found := is_so()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found

def ledger():
    import json
    path = os.environ["LEDGER"]
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []

def pid_of(n):
    return until(lambda: [line["pid"] for line in ledger() if line["event"] == "start" and line["n"] == n])[0]

push("probe", {"n": 1}, connection="background", queue="letters")
push("probe", {"n": 2, "fail_until": 1}, connection="background", queue="letters")
push("probe", {"n": 3, "sleep": 60}, connection="background", queue="killed")
push("probe", {"n": 4, "sleep": 60}, connection="background", queue="stopped")
push("slow", {}, connection="background", queue="slow")
pids = {n: pid_of(n) for n in (1, 2, 3, 4)}
assert len({os.getpid(), *pids.values()}) == 5
os.kill(pids[3], signal.SIGKILL)
os.kill(pids[4], signal.SIGTERM)
from lamplighter.queue.failed import FailedJobs
until(lambda: len(list(application.make(FailedJobs).records())) == 4)
for job in sorted(application.make(FailedJobs).all(), key=lambda job: job.queue):
    print(job.connection, job.queue, job.exception.strip().splitlines()[-1])
"""

SLOW = '''

@dataclass(frozen=True)
class Slow(Job):
    """Runs out of its time."""

    name = "slow"
    timeout = 0.3

    def handle(self) -> None:
        print("slow was here", flush=True)
        time.sleep(60)
'''


def test_a_background_job_runs_in_a_process_of_its_own_that_writes_down_how_it_failed(tmp_path: Path) -> None:
    project = Project(tmp_path, environment={"DB_CONNECTION": "sqlite"}, jobs=PROBE_JOBS + SLOW)
    try:
        project.artisan("migrate", "--force")

        done = project.python(BACKGROUND)

        assert done.returncode == 0, done.stderr + project.log("storage/logs/background.log")
        killed, letters, slow, stopped = done.stdout.splitlines()
        assert letters == "background letters RuntimeError: boom 2"
        assert killed.startswith("background killed ")
        assert "ended by SIGKILL" in killed
        assert slow.endswith("JobTimedOut: slow has run for 0.3 s, which is its timeout.")
        assert "was told to end while the job was running" in stopped
        assert project.numbers("end") == [1]
        assert sorted(project.numbers("failed")) == [2, 3, 4]
        assert "slow was here" in project.log("storage/logs/background.log")
        assert "queue:background" not in project.artisan("list").stdout
        assert "A dispatch on a background connection starts" in project.artisan("queue:background", check=False).stderr
    finally:
        project.close()
