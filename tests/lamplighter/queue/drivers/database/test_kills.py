"""Workers that are killed again and again, and a server that is, on each database: no job is lost."""

import gc
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

from lamplighter.database.manager import MYSQL, POSTGRESQL
from lamplighter.errors import Unavailable
from tests.harness import lives, wait_for
from tests.lamplighter.queue.drivers.database.conftest import SERVERS, url_of
from tests.lamplighter.queue.drivers.database.scene import Scene

# A connection that a killed server has refused half way is let go of by the collector.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")]
IS_LONG = os.environ.get("FAULTS") == "long"
KILLS, JOBS = (100, 10_000) if IS_LONG else (4, 400)
SERVER_KILLS = 10 if IS_LONG else 2
SLOTS = 4
SECONDS = 0.02  # of each job
SEED = random.SystemRandom().getrandbits(32)


@pytest.fixture
def scene(tmp_path: Path, kind: str) -> Iterator[Scene]:
    """A project with a table."""
    scene = Scene(tmp_path / "project", kind)
    yield scene
    scene.close()
    gc.collect()


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
def workers(scene: Scene) -> list["subprocess.Popen[str]"]:
    """Two workers that work."""
    return [start(scene) for _ in range(2)]


def start(scene: Scene) -> "subprocess.Popen[str]":
    """One more worker."""
    return scene.worker("--tries=0", "--pool=thread", f"--concurrency={SLOTS}", "--sleep=0.1")


def push(scene: Scene, number: int, parts: int) -> None:
    """Push one part of all jobs."""
    jobs = [{"n": n, "sleep": SECONDS} for n in range(number * JOBS // parts, (number + 1) * JOBS // parts)]
    try:
        scene.push(*jobs)
    except Unavailable:  # by a connection to a server that was killed: nothing is pushed
        scene.push(*jobs)


def check(scene: Scene, kills: int, what: str, *, most: int) -> None:
    """Each job ran, and no more of them twice than the killed had in hand."""
    wait_for(lambda: not scene.rows("SELECT id FROM jobs LIMIT 1"), seconds=120, what=f"an empty table (seed {SEED})")
    ends = Counter(scene.project.numbers("end"))
    assert sorted(ends) == list(range(JOBS)), SEED
    twice = sum(count - 1 for count in ends.values())
    again = scene.begun() - JOBS
    print(f"{kills} kills of {what}, {JOBS} jobs: {again} begun once more, {twice} of them had ended before")  # noqa: T201
    assert again <= most
    assert scene.rows("SELECT * FROM failed_jobs") == []


def test_workers_that_are_killed_lose_no_job(scene: Scene, workers: list["subprocess.Popen[str]"]) -> None:
    chance = random.Random(SEED)

    for number in range(KILLS):
        before = {worker: scene.begun(worker) for worker in workers}
        push(scene, number, KILLS)
        wait_for(lambda before=before: any(scene.begun(each) > count for each, count in before.items()))  # type: ignore[misc]
        killed = chance.choice([each for each, count in before.items() if scene.begun(each) > count])
        killed.kill()
        killed.wait(10)
        workers.remove(killed)
        workers.append(start(scene))

    check(scene, KILLS, f"workers on {scene.kind}", most=KILLS * SLOTS)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_killed_loses_no_job(scene: Scene, workers: list["subprocess.Popen[str]"]) -> None:
    server = Server(scene.kind)

    for number in range(SERVER_KILLS):
        begun = scene.begun()
        push(scene, number, SERVER_KILLS)
        wait_for(lambda begun=begun: scene.begun() >= begun + 20)  # type: ignore[misc]
        server.kill()
        server.start()
        scene.databases.engine().dispose()  # the test's connections were to the one that was killed

    # PostgreSQL loses the ends of three turns of its WAL writer, 0.6 s, since workers do not wait for the disk.
    unwritten = 0.6 * 2 * SLOTS / SECONDS if scene.kind == "postgresql" else 0
    check(scene, SERVER_KILLS, f"the server {scene.kind}", most=SERVER_KILLS * (2 * SLOTS + int(unwritten)))
    for worker in workers:
        worker.terminate()
        assert worker.wait(20) == 0
