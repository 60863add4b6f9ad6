"""Delays on the embedded broker, as a developer meets them first."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Project, wait_for

LATER = """
import sys
import time

from bootstrap.app import create_app

create_app().bootstrap()
from app.Jobs.probe import Probe, note
from lamplighter.foundation.shortcuts import dispatch

for n, delay in enumerate(map(float, sys.argv[1:])):
    note("due", n=n, due=time.time() + delay)
    dispatch(Probe(n=n, fail_until=1 if n == 0 else 0), delay=delay)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on a broker of its own."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def test_delayed_jobs_and_late_retries_run_when_they_are_due(project: Project) -> None:
    project.configure(retry_in_place=0.5, delay_short=3)
    (project.folder / "later.py").write_text(LATER)
    project.worker("-q", "--tries=2", "--backoff=1.5")
    delays = ["0.5", "1", "2.2", "4"]

    subprocess.run(
        [sys.executable, "later.py", *delays], cwd=project.folder, env=project.environment, check=True, timeout=60
    )
    wait_for(lambda: len(project.events("end")) == len(delays), seconds=60, what="their ends")

    due = {line["n"]: line["due"] for line in project.events("due")}
    assert all(line["at"] >= due[line["n"]] for line in project.events("start"))
    first, second = (line for line in project.events("start") if line["n"] == 0)
    assert second["attempts"] == 2
    assert second["at"] - first["at"] >= 1.5


def test_a_database_that_the_configuration_does_not_have_is_told_at_the_start(project: Project) -> None:
    project.configure(delay_database="nowhere")

    done = project.artisan("queue:work", "kafka", "--stop-when-empty", check=False)

    assert done.returncode == 1
    assert "config/database.py has no connection 'nowhere'" in done.stdout + done.stderr
