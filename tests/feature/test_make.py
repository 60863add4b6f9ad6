"""The newcomer's way: what `make` does in a copy of the project."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from database.seeders.sample_events import PROVIDERS, sample_events
from lamplighter.kafka.embedded.folder import BrokerFolder
from tests.checkout import INSTALLED, Checkout
from tests.harness import Broker, wait_for

SAMPLES = sum(1 for _ in sample_events())
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A fresh copy of the project."""
    checkout = Checkout(tmp_path / "project")
    yield checkout
    checkout.close()


@pytest.mark.slow
def test_make_work_runs_the_samples_to_rows_and_answers(checkout: Checkout) -> None:
    checkout.start("work", *INSTALLED)

    wait_for(lambda: checkout.output.count("DONE") == SAMPLES, what="the end of the samples")
    running = BrokerFolder(checkout.folder / "storage/framework").running()
    assert running is not None
    wait_for(lambda: sum(Broker(running.address).ends("api").values()) == SAMPLES, what="an answer to each")
    assert checkout.rows("provider") == len(PROVIDERS)


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_stops_make_work_cleanly(checkout: Checkout) -> None:
    checkout.start("work", *INSTALLED)
    wait_for(lambda: checkout.output.count("DONE") == SAMPLES, what="the end of the samples")

    began = time.monotonic()
    status = checkout.interrupt()

    assert status in (0, -signal.SIGINT), checkout.output
    assert time.monotonic() - began < 5
    wait_for(lambda: "datastore:show" in checkout.output, what="the hint at the end")
    assert "Traceback" not in checkout.output
    assert "***" not in checkout.output


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_while_the_worker_starts_stops_it_too(checkout: Checkout) -> None:
    checkout.start("work", *INSTALLED)
    wait_for(lambda: "sample events are on the topic" in checkout.output, what="the samples")

    status = checkout.interrupt()

    assert status in (0, -signal.SIGINT), checkout.output
    assert "Traceback" not in checkout.output


def test_without_a_python_make_says_what_to_install(checkout: Checkout) -> None:
    done = checkout.make("install", "PYTHON=")

    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stdout


def test_an_environment_that_can_not_be_made_leaves_nothing_behind(checkout: Checkout) -> None:
    done = checkout.make("install", "PYTHON=false")

    assert done.returncode != 0
    assert "python3-venv" in done.stdout
    assert not (checkout.folder / ".venv").exists()


def test_an_environment_whose_making_was_interrupted_is_made_anew(checkout: Checkout) -> None:
    venv = checkout.folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)

    done = checkout.make("install", "PYTHON=false")

    assert "could not be made by false" in done.stdout
    assert not venv.exists()


def test_an_environment_whose_python_is_gone_is_told(checkout: Checkout) -> None:
    folder = checkout.folder / ".venv/bin"
    folder.mkdir(parents=True)
    (folder / "pip").write_text("#!/nowhere/python\n")
    (folder / "pip").chmod(0o755)
    (folder / "python").symlink_to("/nowhere/python")

    done = checkout.make("install")

    assert done.returncode != 0
    assert "by one that is gone. Remove it: make clean" in done.stdout


def test_a_shell_whose_last_command_failed_is_no_error_of_make(checkout: Checkout) -> None:
    process = checkout.start("shell", *INSTALLED)
    wait_for(lambda: "exit leaves" in checkout.output, what="the shell")

    checkout.type("false\nexit\n")

    assert process.wait(30) == 0
    assert "***" not in checkout.output


def test_install_writes_the_environment_file_once(checkout: Checkout) -> None:
    checkout.make("install", *INSTALLED)
    (checkout.folder / ".env").write_text("APP_ENV=staging\n")

    done = checkout.make("install", *INSTALLED)

    assert (done.returncode, done.stdout) == (0, "")
    assert (checkout.folder / ".env").read_text() == "APP_ENV=staging\n"
