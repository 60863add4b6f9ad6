"""Workers, or a server, that are killed again and again while jobs run: none of them may be lost."""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lamplighter.errors import Unavailable
from tests.harness import Project, wait_for

IS_LONG = os.environ.get("FAULTS") == "long"
JOBS = 10_000 if IS_LONG else 400
KILLS = 100 if IS_LONG else 4
SERVER_KILLS = 10 if IS_LONG else 2
SLOTS = 4
SECONDS = 0.02  # of each job
AHEAD = 200  # jobs that are pushed and not begun yet, at most
SEED = random.SystemRandom().getrandbits(32)

Push = Callable[[Sequence[dict[str, Any]]], object]
Worker = subprocess.Popen[str]


@dataclass
class Killing:
    """A project whose workers, or whose server, are killed, and what the test knows of its queue.

    Attributes:
        connection: of config/queue.py.
        push: puts probes with these data onto the queue; raises Unavailable where nothing says that they are there.
        is_empty: whether the queue has no jobs, in hand or not.
        unwritten: seconds of jobs whose starts and ends the server may forget when it is killed.
        forgets: seconds of acknowledged pushes that it may forget then.
        kind: the connection, as it is printed.
    """

    project: Project
    connection: str
    push: Push
    is_empty: Callable[[], bool]
    unwritten: float = 0
    forgets: float = 0
    kind: str = ""
    workers: list[Worker] = field(default_factory=list)

    def start(self) -> None:
        """One more worker."""
        options = ("--tries=0", "--pool=thread", f"--concurrency={SLOTS}", "--sleep=0.1")
        self.workers.append(self.project.worker(*options, connection=self.connection))

    def begun(self, worker: Worker | None = None) -> int:
        """How many jobs have begun, in a worker or in all; where the ledger is long, `events` takes a second."""
        ledger = self.project.ledger
        pid = "" if worker is None else f'"pid": {worker.pid},'
        return ledger.read_text().count(f'"event": "start", {pid}') if ledger.exists() else 0


def kill_workers(killing: Killing) -> None:
    """Kill one worker after the other, each with jobs in hand; each job comes to its end."""
    chance, began = random.Random(SEED), time.monotonic()
    for _ in range(2):
        killing.start()

    for number in range(KILLS):
        wanted = number * JOBS // KILLS - AHEAD
        wait_for(lambda wanted=wanted: killing.begun() >= wanted, seconds=120)  # type: ignore[misc]
        before = {worker: killing.begun(worker) for worker in killing.workers}
        killing.push(_data(number * JOBS // KILLS, (number + 1) * JOBS // KILLS))
        wait_for(lambda before=before: any(killing.begun(each) > count for each, count in before.items()))  # type: ignore[misc]
        killed = chance.choice([each for each, count in before.items() if killing.begun(each) > count])
        killed.kill()
        killed.wait(10)
        killing.workers.remove(killed)
        killing.start()

    _check(killing, f"{KILLS} kills of workers", set(range(JOBS)), began, most=KILLS * SLOTS)
    _end(killing)


def kill_server(killing: Killing, kill: Callable[[], object], start: Callable[[], object]) -> None:
    """Kill the server while jobs are pushed one by one, and start it again; each one that was acknowledged ends."""
    chance, began = random.Random(SEED), time.monotonic()
    for _ in range(2):
        killing.start()
    pushing = Pushing(killing)
    pushing.start()

    for number in range(SERVER_KILLS):
        wanted = (number + 1) * JOBS // (SERVER_KILLS + 1)
        wait_for(lambda wanted=wanted: pushing.count >= wanted and killing.begun() >= wanted - AHEAD, seconds=120)  # type: ignore[misc]
        threading.Event().wait(chance.random() / 20)  # at any moment of a job's life
        kill()
        if killing.forgets:
            since = time.monotonic() - killing.forgets
            pushing.forgiven |= {n for n, at in list(pushing.acknowledged.items()) if at > since}
        start()
    pushing.join(120)

    assert pushing.error is None, repr(pushing.error)
    assert not pushing.is_alive()
    most = SERVER_KILLS * (2 * SLOTS + int(killing.unwritten * 2 * SLOTS / SECONDS)) + pushing.refused
    what = f"{SERVER_KILLS} kills of the server, {pushing.refused} pushes without an answer"
    _check(killing, what, set(pushing.acknowledged), began, most=most, forgiven=pushing.forgiven)
    _end(killing)


class Pushing(threading.Thread):
    """Pushes job after job, each until it is acknowledged, but not far ahead of the workers.

    Attributes:
        acknowledged: when the store has said that it has a job, by the job's number.
        forgiven: those of them that the server may have forgotten.
        refused: how many pushes ended without an answer, and were made once more.
    """

    def __init__(self, killing: Killing) -> None:
        super().__init__(name="pushing", daemon=True)
        self.acknowledged: dict[int, float] = {}
        self.forgiven: set[int] = set()
        self.refused = 0
        self.error: BaseException | None = None
        self._killing = killing

    @property
    def count(self) -> int:
        """How many were acknowledged."""
        return len(self.acknowledged)

    def run(self) -> None:
        """Until all are acknowledged."""
        try:
            for part in range(0, JOBS, AHEAD // 2):
                wait_for(lambda part=part: self._killing.begun() >= part - AHEAD, seconds=120)  # type: ignore[misc]
                for number in range(part, min(part + AHEAD // 2, JOBS)):
                    self._push(number)
        except BaseException as error:
            self.error = error

    def _push(self, number: int) -> None:
        def is_acknowledged() -> bool:
            with suppress(Unavailable):
                self._killing.push(_data(number, number + 1))
                return True
            self.refused += 1
            return False

        wait_for(is_acknowledged, seconds=60, what=f"the push of {number}")
        self.acknowledged[number] = time.monotonic()


def _data(first: int, last: int) -> list[dict[str, Any]]:
    return [{"n": n, "sleep": SECONDS} for n in range(first, last)]


def _check(
    killing: Killing, what: str, wanted: set[int], began: float, *, most: int, forgiven: Collection[int] = ()
) -> None:
    """Each job has ended, and no more have begun twice than were in hand."""
    project = killing.project
    wait_for(killing.is_empty, seconds=180, what=f"an empty queue (seed {SEED})")
    ends = Counter(project.numbers("end"))
    lost = wanted - ends.keys()
    twice = sum(count - 1 for count in ends.values())
    again = killing.begun() - len(ends)
    print(  # noqa: T201
        f"{killing.kind or killing.connection}: {what}, {len(wanted)} jobs, {len(lost)} lost, {again} begun once more, "
        f"{twice} of them had ended before, {time.monotonic() - began:.0f} s"
    )
    assert lost <= set(forgiven), (SEED, project.log()[-5000:])
    assert again <= most


def _end(killing: Killing) -> None:
    """The workers have met nothing that keeps them from going on; the last one may have been started just now."""
    heartbeats = killing.project.folder / "storage/framework/workers"
    for worker in killing.workers:
        wait_for(lambda worker=worker: (heartbeats / f"{worker.pid}.json").exists() or worker.poll() is not None)  # type: ignore[misc]
        worker.terminate()
    for worker in killing.workers:
        assert worker.wait(20) == 0, killing.project.log()[-5000:]
