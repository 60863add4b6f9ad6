"""A worker that is process 1 of a container, for which the kernel drops a signal that nobody handles."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import PROBE_JOBS, Project, wait_for

AS_ROOT = ("--map-root-user",) if os.geteuid() else ()
AS_PROCESS_1 = ("unshare", *AS_ROOT, "--pid", "--fork", "--mount-proc", "--kill-child")


def may_unshare() -> bool:
    """Whether this machine lets us make a namespace of processes."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*AS_PROCESS_1, "true"], capture_output=True, check=False, timeout=20).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_unshare(), reason="no namespace of processes: `unshare --pid` is not allowed here"),
]
STANDS = """
import os
import time
from pathlib import Path

if os.environ.get("MOMENT") == {moment!r}:
    Path(os.environ["MARK"]).touch()
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose boot stands still where `MOMENT` says."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment, jobs=PROBE_JOBS + STANDS.format(moment="jobs"))
    (tmp_path / "config/stands.py").write_text(STANDS.format(moment="config") + "\nconfig = {}\n")
    yield project
    project.close()


@pytest.mark.parametrize("moment", ["config", "jobs"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_a_signal_ends_process_1_while_it_boots(project: Project, number: signal.Signals, moment: str) -> None:
    mark = project.folder / "mark"
    with (project.folder / "worker.log").open("w") as log:
        unshare = subprocess.Popen(
            [*AS_PROCESS_1, sys.executable, "artisan.py", "queue:work", "kafka"],
            cwd=project.folder,
            env={**project.environment, "MOMENT": moment, "MARK": str(mark)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Whoever runs the tests in the background of a shell has it ignored, and so would they.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_for(mark.exists, what=f"the boot's {moment}")
        [worker] = psutil.Process(unshare.pid).children()

        worker.send_signal(number)

        assert unshare.wait(10) == 128 + number, project.log()
    finally:
        unshare.kill()  # and, by --kill-child, the worker
        unshare.wait(10)
