"""The workers of a round, kept running as a service manager keeps them."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.chaos.scene import SHUTDOWN, Scene

LOOK = 0.05  # seconds between two looks at whether one has ended
AGAIN = 0.3  # seconds until one that has ended is started anew
SKEW = 30  # seconds by which clocks are wrong, one worker's ahead, the next one's behind
MOST = 4  # workers at one time


@dataclass
class Worker:
    """One process of `queue:work`, at a place that has one at a time.

    Attributes:
        again_at: when the next one is to be started here; 0 while this one runs.
    """

    place: int
    process: subprocess.Popen[str]
    again_at: float = 0.0

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid


class Workers(threading.Thread):
    """Starts a worker anew when one has ended, until `end`."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(name="workers", daemon=True)
        self._scene = scene
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._count = 0
        self._leaving: list[Worker] = []
        self._running = [self._start(place) for place in range(scene.round.setting.workers)]

    def run(self) -> None:
        """Until `end`."""
        while not self._ending.wait(LOOK):
            with self._lock:
                self._leaving = [worker for worker in self._leaving if not self._has_ended(worker)]
                for index, worker in enumerate(self._running):
                    if self._has_ended(worker) and time.monotonic() >= worker.again_at:
                        self._running[index] = self._start(worker.place)

    @contextmanager
    def one(self, target: int) -> Iterator[Worker | None]:
        """One of those that run, which does not end meanwhile unless somebody ends it; None where there is none."""
        with self._lock:
            alive = [worker for worker in self._running if worker.process.poll() is None]
            yield alive[target % len(alive)] if alive else None

    def scale(self, target: int) -> str:
        """One worker more, or one less: it is asked to end, and has no successor."""
        with self._lock:
            count = len(self._running)
            if count == 1 or (count < MOST and target % 2):
                self._running.append(self._start(count))
                return f"up to {count + 1}"
            worker = self._running.pop()
            self._leaving.append(worker)
            if worker.process.poll() is None:
                self._scene.note("disturbance", kind="term", worker=worker.pid)
                worker.process.send_signal(signal.SIGTERM)
            return f"down to {count - 1}, without {worker.pid}"

    def alive(self) -> list[int]:
        """Those that run now; one that has ended at this moment is waited for until the next one is started."""
        until = time.monotonic() + 5 * AGAIN
        while True:
            with self._lock:
                found = [worker.pid for worker in self._running if worker.process.poll() is None]
            if found or time.monotonic() > until:
                return found
            time.sleep(LOOK)

    def end(self, *, seconds: float) -> None:
        """Start no more, TERM those that run, and wait until they have ended, for so many seconds at most."""
        self.cease()
        left = [*self._running, *self._leaving]
        for worker in self._running:
            if worker.process.poll() is None:
                self._scene.note("disturbance", kind="term", worker=worker.pid, is_last=True)
                worker.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            left = [worker for worker in left if not self._has_ended(worker)]
            time.sleep(LOOK)

    def cease(self) -> None:
        """Start no more."""
        self._ending.set()
        if self.is_alive():
            self.join(10)

    def _start(self, place: int) -> Worker:
        self._count += 1
        log = f"worker-{self._count}.log"
        setting = self._scene.round.setting
        environment = {}
        if setting.is_static:
            environment["KAFKA_GROUP_INSTANCE_ID"] = f"{self._scene.group}-{place}"
        if setting.is_skewed:
            environment["CLOCK_SKEW"] = str(-SKEW if place % 2 else SKEW)
        process = self._scene.project.worker(*self._options(), log=log, **environment)
        self._scene.note("worker started", worker=process.pid, place=place, log=log)
        return Worker(place, process)

    def _options(self) -> list[str]:
        """What `queue:work` is told."""
        setting, topics = self._scene.round.setting, self._scene.topics
        queue = ",".join(
            f"{topic}:{weight}" if weight else topic for topic, weight in zip(topics, setting.topics, strict=True)
        )
        told = ["-q", "--memory=0", f"--shutdown-timeout={SHUTDOWN}", f"--queue={queue}", f"--tries={setting.tries}"]
        told += [f"--backoff={setting.backoff:g}"]
        if setting.pool != "solo":
            told += [f"--pool={setting.pool}", f"--concurrency={setting.slots}"]
        if setting.grace is not None:
            told += [f"--grace={setting.grace:g}"]
        if setting.max_jobs:
            told += [f"--max-jobs={setting.max_jobs}"]
        if setting.max_jobs_per_slot:
            told += [f"--max-jobs-per-slot={setting.max_jobs_per_slot}"]
        return told

    def _has_ended(self, worker: Worker) -> bool:
        status = worker.process.poll()
        if status is not None and not worker.again_at:
            worker.again_at = time.monotonic() + AGAIN
            self._scene.note("worker ended", worker=worker.pid, status=status)
        return status is not None
