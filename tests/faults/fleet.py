"""Several workers on one topic, a producer, and whoever kills them."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.ledger import Broken, Events, Line, Verdict, Watcher, check, read_numbers
from tests.harness import Broker, Project, wait_for

HERE = Path(__file__).parent
POOLS: dict[str, tuple[str, ...]] = {
    "solo": (),
    "thread": ("--pool=thread", "--concurrency=4"),
    "async": ("--pool=async", "--concurrency=8"),
    "process": ("--pool=process", "--concurrency=2"),
}
SLOTS = {"solo": 1, "thread": 4, "async": 8, "process": 2}
LONG = os.environ.get("FAULTS") == "long"
TWO = tuple(POOLS) if LONG else ("solo", "process")  # the most different ones, where CI has no time for all
EMPTY = ("--stop-when-empty", "--sleep=1")


class Fleet:
    """A project, its topic and group, and the workers that were started on them.

    Attributes:
        excuses: what has happened that lets a job be run again.
    """

    def __init__(
        self, folder: Path, broker: Broker, *, pool: str = "solo", partitions: int = 4, **environment: str
    ) -> None:
        self.broker = broker
        self.pool = pool
        self.partitions = partitions
        self.topic = broker.topic("faults", partitions=partitions)
        self.project = Project(
            folder,
            environment={
                "KAFKA_BROKERS": broker.address,
                "KAFKA_QUEUE": self.topic,
                "KAFKA_CONSUMER_GROUP_ID": self.topic,
                "DB_DATABASE": str(folder / "database.sqlite"),
                "LOG_LEVEL": "info",
                "LOG_FORMAT": "json",
                **environment,
            },
            jobs=(HERE / "probes.py").read_text(),
        )
        self.project.configure(
            # The mock does not wake a fetch that waits.
            consumer_options={"fetch.wait.max.ms": 10},
            sleep_on_error=1,
        )
        self.project.artisan("migrate", "--force")
        self.excuses = Events()
        self.kills, self.away = self.excuses.kills, self.excuses.away
        self.workers: list[subprocess.Popen[str]] = []
        self._producers: list[subprocess.Popen[bytes]] = []
        self._watcher = Watcher(broker.address, self.topic, self.topic, partitions)
        self._watcher.start()
        self._supervisors: list[Supervisor] = []

    @property
    def group(self) -> str:
        """The workers' group."""
        return self.topic

    # jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, *data: dict[str, Any], partition: int = -1, **envelope: Any) -> None:
        """Put jobs for this fleet's pool onto the topic, each under its lane, else its number, as key."""
        name = self.job_name
        messages: list[tuple[bytes | None, bytes | None]] = []
        for fields in data:
            n = fields.get("n", 0)
            body = {"job": name, "data": fields, "id": str(n), "attempts": 0, **envelope}
            messages.append((str(fields.get("lane") or n).encode(), json.dumps(body).encode()))
        self.broker.publish(self.topic, messages, partition)

    @property
    def job_name(self) -> str:
        """The job that suits the pool."""
        return "aprobe" if self.pool == "async" else "probe"

    def produce(
        self,
        count: int,
        *,
        first: int = 0,
        lanes: int = 0,
        rate: float = 0,
        delays: tuple[float, float] | None = None,
        **data: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a program that dispatches jobs."""
        order = {
            "file": str(self.project.folder / "acknowledged.txt"),
            "enough": str(self.project.folder / "enough"),
            "count": count,
            "first": first,
            "lanes": lanes,
            "rate": rate,
            "delays": delays,
            "data": data,
            "is_async": self.pool == "async",
        }
        with (self.project.folder / "producer.log").open("ab") as log:
            producer = subprocess.Popen(
                [sys.executable, str(HERE / "dispatching.py"), json.dumps(order)],
                cwd=self.project.folder,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._producers.append(producer)
        return producer

    def stop_producing(self) -> None:
        """Let the producers end with the job that they are sending."""
        (self.project.folder / "enough").touch()

    def acknowledged(self) -> list[int]:
        """The numbers that producers know to be on the broker."""
        return read_numbers(self.project.folder / "acknowledged.txt")

    # workers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def worker(self, *options: str, log: str = "worker.log", **environment: str) -> subprocess.Popen[str]:
        """Start one more worker with this fleet's pool."""
        worker = self.project.worker("-q", "--memory=0", *POOLS[self.pool], *options, log=log, **environment)
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[str]) -> None:
        """kill -9."""
        self.kills[worker.pid] = time.time()
        worker.kill()
        worker.wait(10)

    def supervise(self, count: int, *options: str) -> "Supervisor":
        """Keep so many workers running, as a service manager does."""
        supervisor = Supervisor(self, count, options)
        self._supervisors.append(supervisor)
        supervisor.start()
        return supervisor

    # what has happened ─────────────────────────────────────────────────────────────────────────────────────────────

    def events(self, event: str | None = None) -> list[Line]:
        """The ledger's lines, of one kind or all."""
        return self.project.events(event)

    def numbers(self, event: str) -> list[int]:
        """The jobs' numbers of one kind of event, in order."""
        return [line["n"] for line in self.events(event)]

    def starts(self, n: int) -> int:
        """How often a job was started."""
        return Counter(self.numbers("start"))[n]

    def done(self) -> set[int]:
        """The numbers of jobs that have ended or failed."""
        return {line["n"] for line in self.events() if line["event"] in ("end", "failed")}

    def wait_until_done(self, numbers: set[int], *, seconds: float = 60) -> None:
        """Wait until all of these have ended or failed."""
        deadline = time.monotonic() + seconds
        while missing := numbers - self.done():
            left = f"{len(missing)} of {len(numbers)} jobs did not end: {sorted(missing)[:10]}"
            assert time.monotonic() < deadline, f"{left}\n{self.project.log()[-6000:]}"
            time.sleep(0.1)

    def wait_until_committed(self, *, seconds: float = 30) -> None:
        """Wait until all that is on the topic is committed."""
        ends = self.broker.ends(self.topic)
        wait_for(
            lambda: self.broker.committed(self.group, self.topic) == ends,
            seconds=seconds,
            what=f"the commit of {ends}",
        )

    def check(self, *, acknowledged: list[int] | None = None) -> Verdict:
        """Stop watching, and compare all that was said."""
        self._watcher.end()
        for log in self.project.folder.glob("*.log"):
            self.excuses.read_log(log.read_text())
        verdict = check(
            self.events(),
            topic=self.topic,
            acknowledged=self.acknowledged() if acknowledged is None else acknowledged,
            seen=self._watcher.seen,
            events=self.excuses,
        )
        print(f"[{self.pool}] {verdict}; kills: {len(self.kills)}")  # noqa: T201
        if verdict.wrong:
            raise Broken("\n".join(verdict.wrong[:20]) + f"\n{self.project.log()[-3000:]}")
        assert not verdict.late, "\n".join(verdict.late[:20]) + f"\n{self.project.log()[-3000:]}"
        return verdict

    def seen(self) -> list[tuple[float, int, int, str]]:
        """When which partition was committed at which offset, with which metadata."""
        return self._watcher.seen

    def close(self) -> None:
        """End all of it."""
        for supervisor in self._supervisors:
            supervisor.end()
        for producer in self._producers:
            if producer.poll() is None:
                producer.kill()
                producer.wait(10)
        self.project.close()
        if self._watcher.is_alive():
            self._watcher.end()


class Supervisor(threading.Thread):
    """Starts a worker anew when one has ended, until it is told to stop."""

    def __init__(self, fleet: Fleet, count: int, options: tuple[str, ...]) -> None:
        super().__init__(name="supervisor", daemon=True)
        self.lock = threading.Lock()
        self.statuses: list[int] = []
        self._fleet = fleet
        self._options = options
        self._ending = threading.Event()
        self.running = [fleet.worker(*options) for _ in range(count)]

    def run(self) -> None:
        """Until `end`."""
        while not self._ending.wait(0.05):
            with self.lock:
                for place, worker in enumerate(self.running):
                    status = worker.poll()
                    if status is None:
                        continue
                    self._fleet.kills.setdefault(worker.pid, time.time())
                    self.statuses.append(status)
                    self.running[place] = self._fleet.worker(*self._options)

    def kill_one(self, chance: random.Random) -> None:
        """kill -9 of one of them."""
        with self.lock:
            self._fleet.kill(chance.choice(self.running))

    def end(self, *, seconds: float = 40) -> list[int]:
        """Start no more, and TERM those that run; their exit codes."""
        self._ending.set()
        self.join(10)
        for worker in self.running:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        return [worker.wait(seconds) for worker in self.running]


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def seed() -> random.Random:
    """Chance that can be had again: FAULTS_SEED, which is printed."""
    number = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {number}")  # noqa: T201
    return random.Random(number)


__all__ = ["EMPTY", "LONG", "POOLS", "SLOTS", "TWO", "Fleet", "Supervisor", "alive", "children", "seed"]
