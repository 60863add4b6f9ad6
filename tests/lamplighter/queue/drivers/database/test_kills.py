"""Workers that are killed again and again, and a server that is, on each database: no job is lost."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

from lamplighter.database.manager import MYSQL, POSTGRESQL
from tests.harness import lives, wait_for
from tests.kills import Killing, kill_server, kill_workers
from tests.lamplighter.queue.drivers.database.conftest import SERVERS, url_of
from tests.lamplighter.queue.drivers.database.scene import Scene

pytestmark = pytest.mark.long


@pytest.fixture
def scene(tmp_path: Path, kind: str) -> Iterator[Scene]:
    """A project with a table."""
    scene = Scene(tmp_path / "project", kind)
    yield scene
    scene.close()


class Server:
    """The server of the tests, which ends as a machine does whose current fails."""

    def __init__(self, kind: str) -> None:
        drivername = {"postgresql": POSTGRESQL, "mysql": MYSQL}[kind]
        self._engine = create_engine(make_url(url_of(kind)).set(drivername=drivername))
        variable = {"postgresql": "POSTGRES_TEST_CTL", "mysql": "MYSQL_TEST_OPTIONS"}[kind]
        found = os.environ.get(variable)
        if not found:
            pytest.skip(f"the server here can't be killed: set {variable}, as .ci/services does")
        if kind == "postgresql":
            words = found.split()
            self._pid_file = Path(words[words.index("-D") + 1]) / "postmaster.pid"
            command = f"{found} -w start"
        else:
            options = ConfigParser()
            options.read(found)
            self._pid_file = Path(options["mariadbd"]["pid-file"])
            command = f"mariadbd --defaults-file={found} &"
        shell = ["sh", "-c", f"({command}) >/dev/null 2>&1"]
        user = {"postgresql": "postgres", "mysql": "mysql"}[kind]
        self._start = ["runuser", "-u", user, "--", *shell] if os.geteuid() == 0 else shell

    def kill(self) -> None:
        """Leave it no time."""
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not lives(pid), what="the server's end")

    def start(self) -> None:
        """Let it be there again, with what it had on the disk."""

        def answers() -> bool:
            if not lives(self._pid()):  # PostgreSQL does not start while a process of the killed one is left
                subprocess.run(self._start, stdin=subprocess.DEVNULL, timeout=60, check=False, start_new_session=True)
            with suppress(OperationalError), self._engine.connect():
                return True
            return False

        wait_for(answers, what="a server")
        self._engine.dispose()

    def _pid(self) -> int:
        return int(self._pid_file.read_text().split()[0])


@pytest.fixture
def killing(scene: Scene) -> Killing:
    """Its workers, and its table."""

    def push(data: Sequence[dict[str, Any]]) -> None:
        scene.push(*data)

    # PostgreSQL loses the ends of three turns of its WAL writer, 0.6 s, since workers do not wait for the disk.
    return Killing(
        scene.project,
        "database",
        push,
        is_empty=lambda: not scene.rows("SELECT id FROM jobs LIMIT 1"),
        unwritten=0.6 if scene.kind == "postgresql" else 0,
        kind=f"database on {scene.kind}",
    )


def test_workers_that_are_killed_lose_no_job(scene: Scene, killing: Killing) -> None:
    kill_workers(killing)

    assert scene.rows("SELECT * FROM failed_jobs") == []


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_killed_loses_no_job(scene: Scene, killing: Killing) -> None:
    server = Server(scene.kind)

    kill_server(killing, server.kill, server.start)

    assert scene.rows("SELECT * FROM failed_jobs") == []
