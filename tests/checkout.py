"""A copy of the project as it comes from the repository, in which make is run as its users run it."""

import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from tests.harness import ROOT, end_broker

NOT_IN_THE_REPOSITORY = (".git", ".venv*", ".env", ".*_cache", ".hypothesis", "*.sqlite*", "__pycache__", "framework")
ENVIRONMENT = ("HOME", "PATH", "LANG", "TMPDIR")
# -o: the stamp of an installation counts as new, so that make does not install into the environment of these tests.
INSTALLED = (f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed")


class Checkout:
    """A copy of the project; its make uses the packages of these tests instead of installing them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_IN_THE_REPOSITORY))
        self.process: subprocess.Popen[bytes] | None = None
        self._terminal: int | None = None
        self._read = bytearray()

    @property
    def output(self) -> str:
        """What has been on the screen."""
        return self._read.decode(errors="replace")

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run make to its end."""
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start make on a terminal of its own."""
        controller, terminal = pty.openpty()
        self.process = subprocess.Popen(
            ["make", *arguments],
            cwd=self.folder,
            env=self._environment(environment),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )
        os.close(terminal)
        self._terminal = controller
        threading.Thread(target=self._drain, args=(controller,), daemon=True).start()
        return self.process

    def interrupt(self) -> int:
        """Ctrl-C: the signal goes to all that run on the terminal; make's exit code."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(30)

    def type(self, text: str) -> None:
        """Type on the terminal."""
        assert self._terminal is not None
        os.write(self._terminal, text.encode())

    def rows(self, table: str) -> int:
        """How many rows are stored."""
        path = self.folder / "database/database.sqlite"
        if not path.exists():
            return 0
        connection = sqlite3.connect(path)
        try:
            return int(connection.execute(f"select count(*) from {table}").fetchone()[0])
        except sqlite3.OperationalError:  # the migrations have not come that far
            return 0
        finally:
            connection.close()

    def close(self) -> None:
        """End what is still running, the embedded broker too."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        end_broker(self.folder / "storage/framework")

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {**{name: os.environ[name] for name in ENVIRONMENT if name in os.environ}, **more}

    def _drain(self, controller: int) -> None:
        with os.fdopen(controller, "rb", buffering=0) as screen:
            try:
                while chunk := screen.read(65536):
                    self._read += chunk
            except OSError:  # how Linux tells that the other end was closed
                return


def hear_interrupts() -> None:
    """As on a terminal: what a shell runs in its background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
