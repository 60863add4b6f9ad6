"""The Supervisor program that ships in docs/deploy, under a real supervisord."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import ROOT, Project, wait_for

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.long]


class Supervised:
    """A project whose worker a supervisord keeps running."""

    def __init__(self, project: Project) -> None:
        self.project = project
        folder = project.folder
        text = (ROOT / "docs/deploy/supervisor.conf").read_text()
        text = re.sub(r"command=\S+", f"command={sys.executable}", text).replace("/srv/data-store", str(folder))
        text = text.replace("numprocs=2", "numprocs=1").replace("user=www-data\n", "")
        text = text.replace("/var/log/lamplighter-worker.log", str(folder / "worker.log"))
        self.config = folder / "supervisord.conf"
        self.config.write_text(f"[supervisord]\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\n{text}")
        self.process = subprocess.Popen(
            ["supervisord", "--nodaemon", "--configuration", str(self.config)],
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def workers(self) -> list[int]:
        """The pids of the workers that beat."""
        files = (self.project.folder / "storage/framework/workers").glob("*.json")
        return [pid for file in files if psutil.pid_exists(pid := int(file.stem))]

    def await_worker(self, *, other_than: int | None = None) -> int:
        """The pid of a worker, once there is one."""
        wait_for(lambda: set(self.workers()) - {other_than}, what="a worker")
        return (set(self.workers()) - {other_than}).pop()

    def log(self) -> str:
        """What supervisord tells."""
        return (self.project.folder / "supervisord.log").read_text()

    def end(self) -> None:
        """Stop supervisord and what it runs."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A worker on the embedded broker under supervisord."""
    if shutil.which("supervisord") is None:
        if os.environ.get("CI_SERVICES"):
            pytest.fail("CI promised a supervisord, and there is none")
        pytest.skip("no supervisord on this machine")
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    supervised = Supervised(project)
    yield supervised
    supervised.end()
    project.close()


def test_a_worker_that_is_killed_comes_back(supervised: Supervised) -> None:
    first = supervised.await_worker()

    os.kill(first, signal.SIGKILL)
    supervised.await_worker(other_than=first)

    assert "exited: lamplighter-worker_00 (terminated by SIGKILL" in supervised.log()


def test_a_worker_that_was_told_to_restart_comes_back(supervised: Supervised) -> None:
    first = supervised.await_worker()

    supervised.project.artisan("queue:restart")
    supervised.await_worker(other_than=first)

    assert not psutil.pid_exists(first)
    assert "exited: lamplighter-worker_00 (exit status 0" in supervised.log()
