"""Programs of a few lines, each in a process of its own: what forks must not be the tests' process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.harness import ROOT

OUTCOME = """
import os, signal, sys, threading, time

def outcome(child, seconds=12):
    \"\"\"The exit code of a child, negative for a signal; `hung` where it has not ended in time.\"\"\"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGABRT)  # with `-X faulthandler` it tells where it stands
    os.waitpid(child, 0)
    return "hung"
"""


def run(
    program: str,
    *arguments: str | Path,
    options: tuple[str, ...] = (),
    timeout: float = 60,
    folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Run a program to its end, with `outcome` in its namespace; what it has printed."""
    done = subprocess.run(
        [sys.executable, *options, "-c", OUTCOME + program, *map(str, arguments)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"it ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
