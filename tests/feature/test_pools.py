"""`queue:work` with several jobs in hand, on the embedded broker: slots that die, are renewed, overrun and drain."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from lamplighter.queue.pools.process.pool import LEAVE
from tests.harness import PROBE_JOBS, Broker, Project, command_of, stop, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.long]

POOLS = [("solo", 1), ("thread", 2), ("process", 2), ("async", 2)]
JOBS = (
    PROBE_JOBS
    + '''

@dataclass(frozen=True)
class Awaited(Job):
    """Runs in an event loop."""

    name = "awaited"

    n: int = 0

    async def handle(self) -> None:
        import asyncio

        await asyncio.sleep(0.01)
        note("end", n=self.n)


def passing(function):
    import functools

    return functools.wraps(function)(lambda *arguments: function(*arguments))


@dataclass(frozen=True)
class Decorated(Job):
    """The same below a decorator that returns its coroutine."""

    name = "decorated"

    n: int = 0

    handle = passing(Awaited.handle)


@dataclass(frozen=True)
class Greedy(Job):
    """Takes memory and keeps it."""

    name = "greedy"
    kept = []

    n: int = 0
    megabytes: int = 0

    def handle(self) -> None:
        self.kept.append(bytearray(os.urandom(1 << 20) * self.megabytes))
        note("end", n=self.n)


@dataclass(frozen=True)
class Parent(Job):
    """Leaves processes behind that have all its files, and dies."""

    name = "parent"

    n: int = 0

    def handle(self) -> None:
        os.system("sleep 20 &")
        child = os.fork()
        if child == 0:
            time.sleep(20)
            os._exit(0)
        note("start", n=self.n, child=child)
        os._exit(7)


@dataclass(frozen=True)
class Lingers(Job):
    """Leaves a thread behind that its process waits for at its end."""

    name = "lingers"

    n: int = 0

    def handle(self) -> None:
        threading.Thread(target=time.sleep, args=(60,)).start()
        note("end", n=self.n)


@dataclass(frozen=True)
class Tidy(Job):
    """Runs for too long, and puts its things away when it is told to end."""

    name = "tidy"

    n: int = 0

    def handle(self) -> None:
        try:
            time.sleep(60)
        finally:
            note("tidied", n=self.n)


@dataclass(frozen=True)
class TidyLater(Tidy):
    """The same in an event loop."""

    name = "tidy_later"

    async def handle(self) -> None:
        import asyncio

        try:
            await asyncio.sleep(60)
        finally:
            note("tidied", n=self.n)


@dataclass(frozen=True)
class Ends(Job):
    """Ends in one way or another."""

    name = "ends"
    tries = 1
    timeout = 1

    how: str = ""

    def handle(self) -> None:
        note("start", how=self.how)
        if self.how == "leaves":
            raise SystemExit(3)
        if self.how == "clings to its process":
            try:
                time.sleep(60)
            except SystemExit:
                raise KeyError("in the middle") from None
        raise RuntimeError("boom")

    def failed(self, error: BaseException) -> None:
        note("failed", how=self.how, error=type(error).__name__)
        if self.how == "takes longer in failed() than its timeout":
            time.sleep(2.5)
            note("end")
        if self.how == "dies in failed()":
            os._exit(9)
'''
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    environment = {"KAFKA_BROKERS": "embedded", "DB_DATABASE": str(tmp_path / "database.sqlite")}
    project = Project(tmp_path, environment=environment, jobs=JOBS)
    project.artisan("migrate", "--force")
    yield project
    project.close()


def broker(project: Project) -> Broker:
    """The broker that the project's worker has started."""
    address = json.loads((project.folder / "storage/framework/embedded-broker.json").read_text())["address"]
    return Broker(address)


def working(project: Project, *options: str, pool: str = "process", slots: int = 2) -> "subprocess.Popen[str]":
    """A worker that has its partitions."""
    process = project.worker(f"--pool={pool}", f"--concurrency={slots}", *options)
    wait_for(lambda: "partitions assigned" in project.log(), what="a worker")
    return process


def slots_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes of a worker's slots."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "lamplighter.queue.pools.process.main" in command_of(child)]


def kept(project: Project) -> list[tuple[str, str]]:
    """How each failed job was to end, and its trace."""
    with closing(sqlite3.connect(project.environment["DB_DATABASE"], timeout=30)) as connection:
        rows = connection.execute("select payload, exception from failed_jobs").fetchall()
    return [(json.loads(payload)["data"]["how"], trace) for payload, trace in rows]


def pids(project: Project, event: str = "start") -> list[int]:
    """Where jobs ran, one number for each process."""
    return list(dict.fromkeys(line["pid"] for line in project.events(event)))


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_an_async_handler_runs_in_every_pool(project: Project, pool: str, slots: int) -> None:
    process = working(project, pool=pool, slots=slots)

    broker(project).jobs("store", *({"n": n} for n in range(10)), name="awaited")
    broker(project).jobs("store", *({"n": n} for n in range(10, 20)), name="decorated")
    wait_for(lambda: len(project.events("end")) == 20)
    status = stop(process)

    assert status == 0
    assert sorted(project.numbers("end")) == list(range(20))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("pool", "slots"), POOLS[1:])
def test_a_signal_to_the_whole_group_drains(project: Project, pool: str, slots: int, number: int) -> None:
    command = [sys.executable, "artisan.py", "queue:work", "kafka", f"--pool={pool}", f"-c{slots}", "-v"]
    with (project.folder / "worker.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    wait_for(lambda: "partitions assigned" in project.log(), what="a worker")
    broker(project).jobs("store", {"n": 1, "sleep": 1.5}, {"n": 2, "sleep": 1.5})
    wait_for(lambda: len(project.events("start")) == 2)

    slots_ = slots_of(process)
    os.killpg(process.pid, number)
    for slot in slots_:  # as systemd does with KillMode=control-group
        slot.send_signal(number)
    status = process.wait(40)

    assert status == 0, project.log()
    assert sorted(project.numbers("start")) == sorted(project.numbers("end")) == [1, 2]
    assert project.log().count(" DONE") == 2
    assert "Traceback" not in project.log()
    assert "store" in next(line for line in project.log().splitlines() if "RUNNING" in line)


def test_slots_that_can_not_boot_end_the_worker_and_say_why(project: Project) -> None:
    provider = project.folder / "bootstrap/app.py"
    program = "lamplighter.queue.pools.process.main"
    refuse = f'import sys\nif "{program}" in sys.orig_argv:\n    raise RuntimeError("no flux here")\n'
    provider.write_text(provider.read_text() + "\n" + refuse)

    process = project.worker("--pool=process", "--concurrency=2")
    status = process.wait(60)

    assert status == 1
    assert "no flux here" in project.log()
    assert "end before they are ready, the last one with exit code 1" in project.log()


def test_solo_with_slots_is_refused(project: Project) -> None:
    done = project.artisan("queue:work", "kafka", "--pool=solo", "-c", "4", check=False)

    assert done.returncode == 1
    assert "process, thread or async" in done.stdout + done.stderr


def test_a_limit_of_processes_is_refused_where_there_are_none(project: Project) -> None:
    done = project.artisan("queue:work", "kafka", "--pool=thread", "-c", "4", "--max-jobs-per-slot=9", check=False)

    assert done.returncode == 1
    assert "--pool is thread" in done.stdout + done.stderr


def test_a_negative_backoff_is_refused(project: Project) -> None:
    done = project.artisan("queue:work", "kafka", "--backoff=1,-5", check=False)

    assert done.returncode == 1
    assert "--backoff" in done.stdout + done.stderr


def test_a_slot_is_renewed_after_its_jobs(project: Project) -> None:
    process = working(project, "--max-jobs-per-slot=10", slots=1)

    broker(project).jobs("store", *({"n": n} for n in range(40)))
    wait_for(lambda: len(project.events("end")) == 40)
    status = stop(process)

    assert status == 0
    assert 3 <= len(pids(project)) <= 6
    assert sorted(project.numbers("start")) == list(range(40))


def test_a_slot_is_renewed_at_its_memory(project: Project) -> None:
    process = working(project, "--max-memory-per-slot=250", slots=1)

    broker(project).jobs("store", {"n": 1, "megabytes": 250}, name="greedy", partition=0)
    wait_for(lambda: project.numbers("end") == [1])
    broker(project).jobs("store", {"n": 2}, name="greedy", partition=0)
    wait_for(lambda: len(project.events("end")) == 2)
    status = stop(process)

    assert status == 0
    assert len(pids(project, "end")) == 2


def test_a_slot_that_is_killed_harms_its_job_alone(project: Project) -> None:
    process = working(project, "--tries=2")
    broker(project).jobs("store", {"n": 1, "sleep": 2}, {"n": 2, "sleep": 2})
    wait_for(lambda: len(project.events("start")) == 2)

    os.kill(next(line["pid"] for line in project.events("start") if line["n"] == 1), signal.SIGKILL)
    wait_for(lambda: len(project.events("end")) == 2)
    status = stop(process)

    assert status == 0
    assert sorted((line["n"], line["attempts"]) for line in project.events("start")) == [(1, 1), (1, 2), (2, 1)]
    assert "ended by SIGKILL while the job was running" in project.log()


def test_a_slot_that_dies_is_missed_though_what_it_has_started_lives(project: Project) -> None:
    working(project, "--tries=1")

    broker(project).jobs("store", {"n": 1}, name="parent")
    wait_for(lambda: "FAIL" in project.log(), seconds=10)

    (start,) = project.events("start")
    assert psutil.pid_exists(start["child"])
    assert "exit code 7" in project.log()
    os.kill(start["child"], signal.SIGKILL)


def test_a_slot_that_can_not_end_holds_up_no_shutdown(project: Project) -> None:
    process = working(project, "--shutdown-timeout=2")
    broker(project).jobs("store", {"n": 1}, name="lingers")
    wait_for(lambda: project.numbers("end") == [1])
    began = time.monotonic()

    status = stop(process)

    assert status == 0
    assert time.monotonic() - began < LEAVE


def test_an_overdue_job_in_a_slot_may_put_its_things_away(project: Project) -> None:
    working(project, "--timeout=0.5", "--tries=1")

    broker(project).jobs("store", {"n": 1}, name="tidy")
    broker(project).jobs("store", {"n": 2}, name="tidy_later")
    wait_for(lambda: project.log().count("FAIL") == 2, seconds=20)

    assert sorted(project.numbers("tidied")) == [1, 2]
    assert project.log().count('reason="JobTimedOut') == 2


def test_a_timeout_ends_its_slot_alone_and_shows_where_it_hung(project: Project) -> None:
    process = working(project, "--timeout=2")

    broker(project).jobs("store", {"n": 1, "sleep": 60}, {"n": 2, "sleep": 1})
    wait_for(lambda: project.numbers("failed") == [1] and project.numbers("end") == [2])
    broker(project).jobs("store", {"n": 3})
    wait_for(lambda: 3 in project.numbers("end"))
    status = stop(process)

    assert status == 0
    assert project.events("failed")[0]["error"] == "JobTimedOut"
    assert "its timeout is 2 s" in project.artisan("queue:failed").stdout + project.log()
    assert "in handle" in project.log()


def test_a_job_that_holds_on_through_term_is_killed(project: Project) -> None:
    jobs = project.folder / "app/Jobs/probe.py"
    jobs.write_text(
        jobs.read_text().replace(
            "if self.lock:", "if self.lock:\n            import signal; signal.signal(15, signal.SIG_IGN)"
        )
    )
    process = working(project, "--timeout=1")

    broker(project).jobs("store", {"n": 1, "lock": True})
    wait_for(lambda: project.numbers("failed") == [1])
    status = stop(process)

    assert status == 0


ENDS = {
    "leaves": "SystemExit",
    "clings to its process": "JobTimedOut",
    "takes longer in failed() than its timeout": "RuntimeError",
    "dies in failed()": "RuntimeError",
}


def test_each_job_that_fails_in_a_slot_is_recorded_once_with_its_own_error(project: Project) -> None:
    process = working(project)

    broker(project).jobs("store", *({"how": how} for how in ENDS), name="ends")
    wait_for(lambda: len(kept(project)) == len(ENDS) and project.events("end"), what="all ends")
    status = stop(process)

    assert status == 0
    assert {how: trace.splitlines()[-1].partition(":")[0].rpartition(".")[2] for how, trace in kept(project)} == ENDS
    assert sorted((line["how"], line["error"]) for line in project.events("failed")) == sorted(ENDS.items())
    assert len(project.events("start")) == len(ENDS)
    assert all("in handle" in trace for _, trace in kept(project) if "JobTimedOut" not in trace)


def test_no_slot_works_on_when_its_worker_is_killed(project: Project) -> None:
    process = working(project)
    broker(project).jobs("store", {"n": 1, "sleep": 3}, {"n": 2, "sleep": 3})
    wait_for(lambda: len(project.events("start")) == 2)
    slots = slots_of(process)

    process.kill()
    process.wait(10)
    gone, alive = psutil.wait_procs(slots, timeout=2)

    assert (len(gone), alive) == (2, [])
    assert project.events("end") == []


def test_a_job_that_waits_for_a_slot_to_boot_has_all_its_time(project: Project) -> None:
    provider = project.folder / "bootstrap/app.py"
    slow = 'import sys, time\nif "lamplighter.queue.pools.process.main" in sys.orig_argv:\n    time.sleep(3)\n'
    provider.write_text(provider.read_text() + "\n" + slow)
    process = working(project, "--timeout=2")

    broker(project).jobs("store", {"n": 1, "sleep": 0.5})
    wait_for(lambda: project.events("end") or project.events("failed"))
    status = stop(process)

    assert status == 0
    assert project.numbers("end") == [1]


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_a_worker_whose_slots_are_busy_is_healthy(project: Project, pool: str, slots: int) -> None:
    process = working(project, pool=pool, slots=slots)
    broker(project).jobs("store", *({"n": n, "sleep": 60} for n in range(slots)))
    wait_for(lambda: len(project.events("start")) == slots)
    file = project.folder / f"storage/framework/workers/{process.pid}.json"
    began = time.time()

    wait_for(lambda: file.exists() and json.loads(file.read_text())["beats"]["worker"] > began, what="a beat")
    done = project.artisan("queue:health", "--seconds=6", check=False)

    assert done.returncode == 0, done.stdout
    assert "1 worker is alive" in done.stdout
    assert project.events("end") == []
