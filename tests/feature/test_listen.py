"""`queue:listen`: a worker for development, as a real process with a real child."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import Project, lives, stop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment)
    project.artisan("migrate", "--force")
    yield project
    project.close()


@pytest.fixture
def listening(project: Project) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `queue:listen`, and waits for its worker; what is left at the end is ended."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> "subprocess.Popen[str]":
        with (project.folder / "listen.log").open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "artisan.py", "queue:listen", "kafka", *options],
                cwd=project.folder,
                env=project.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        processes.append(process)
        wait_for(lambda: workers(project) == 1, what=f"a worker: {project.log('listen.log')}")
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait(10)


def workers(project: Project) -> int:
    """How many workers have begun so far."""
    return project.log("listen.log").count("partitions assigned")


def dispatch(project: Project, n: int, *, sleep: float = 0) -> None:
    """A job for the worker."""
    program = f"""
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter import dispatch
dispatch(Probe(n={n}, sleep={sleep}))
"""
    done = project.python(program)
    assert done.returncode == 0, done.stderr


def worker_of(process: "subprocess.Popen[str]") -> int:
    """The process of the worker."""
    [child] = psutil.Process(process.pid).children()
    return child.pid


def test_a_job_runs_with_the_code_that_was_written_last(
    project: Project, listening: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = listening("--queue=store")
    dispatch(project, 1)
    wait_for(lambda: project.numbers("end") == [1])

    module = project.folder / "app/Jobs/probe.py"
    module.write_text(module.read_text().replace('note("end", n=self.n,', 'note("end", n=self.n + 100,'))
    wait_for(lambda: workers(project) == 2, what="a worker with the new code")
    dispatch(project, 2)
    wait_for(lambda: project.numbers("end") == [1, 102])

    assert "app/Jobs/probe.py was changed. The worker starts anew after its job." in project.log("listen.log")
    assert stop(process) == 0


def test_a_job_in_hand_comes_to_its_end_before_the_worker_starts_anew(
    project: Project, listening: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = listening()
    dispatch(project, 1, sleep=3)
    wait_for(lambda: project.numbers("start") == [1])

    (project.folder / ".env").write_text("APP_NAME=Other\n")
    wait_for(lambda: workers(project) == 2, what="another worker")

    assert project.numbers("end") == [1]
    assert project.numbers("start") == [1]
    assert stop(process) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_in_order(
    project: Project, listening: Callable[..., "subprocess.Popen[str]"], number: signal.Signals
) -> None:
    process = listening()
    worker = worker_of(process)
    dispatch(project, 1, sleep=1)
    wait_for(lambda: project.numbers("start") == [1])

    status = stop(process, number)

    assert status == 0
    assert not lives(worker)
    assert project.numbers("end") == [1]
    assert "reason=interrupted" in project.log("listen.log")


def test_no_worker_outlives_a_listener_that_was_killed(
    project: Project, listening: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = listening("--pool=process", "-c2")
    worker = worker_of(process)
    children = psutil.Process(worker).children(recursive=True)

    process.kill()
    process.wait(10)

    wait_for(lambda: not lives(worker), what="the worker ends")
    wait_for(lambda: not any(child.is_running() for child in children), what="its slots end")
    assert "reason=interrupted" in project.log("listen.log")


def test_a_worker_that_can_not_start_is_started_again_when_its_code_is_mended(
    project: Project, listening: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = listening()
    module = project.folder / "app/Jobs/probe.py"
    text = module.read_text()

    module.write_text("this is no Python\n" + text)
    wait_for(lambda: "It starts again in" in project.log("listen.log"), what="it has ended")
    module.write_text(text)
    wait_for(lambda: workers(project) == 2, what="a worker")

    assert stop(process) == 0


def test_a_worker_that_was_killed_is_started_again(
    project: Project, listening: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = listening()

    os.kill(worker_of(process), signal.SIGKILL)
    wait_for(lambda: workers(project) == 2, what="another worker")

    assert "The worker has ended with -9. It starts again in" in project.log("listen.log")
    assert stop(process) == 0
