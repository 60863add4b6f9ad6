"""What is done to a round: one function for each kind, and the thread that does them at their moments.

Each writes down when it begins, just before, and where it lasts, when it is over, just after.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psutil

from tests.faults.chaos.plan import Disturbance
from tests.faults.chaos.scene import Scene
from tests.faults.chaos.workers import Workers

COMMAND = 60.0  # seconds that a command of artisan may take


class Disturbing(threading.Thread):
    """Does all of a round's disturbances, each in a thread of its own: one that lasts holds up no other."""

    def __init__(self, scene: Scene, workers: Workers) -> None:
        super().__init__(name="disturbing", daemon=True)
        self.errors: list[Exception] = []
        self._scene = scene
        self._workers = workers

    def run(self) -> None:
        """Until all of them are over."""
        threads = []
        for one in self._scene.round.disturbances:
            ahead = self._scene.began + one.at - time.time()
            if ahead > 0:
                time.sleep(ahead)
            threads.append(threading.Thread(target=self._do, args=(one,), name=one.kind, daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _do(self, one: Disturbance) -> None:
        try:
            KINDS[one.kind](self._scene, self._workers, one)
        except Exception as error:
            self.errors.append(error)


def _note(scene: Scene, one: Disturbance, **fields: Any) -> None:
    scene.note("disturbance", kind=one.kind, **fields)


def _over(scene: Scene, one: Disturbance, **fields: Any) -> None:
    scene.note("over", kind=one.kind, **fields)


# workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def kill(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """kill -9 of a worker."""
    with workers.one(one.target) as worker:
        if worker is not None:
            _note(scene, one, worker=worker.pid)
            worker.process.kill()
            worker.process.wait(10)


def term(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """TERM: it ends in order, and another takes its place."""
    with workers.one(one.target) as worker:
        if worker is not None:
            _note(scene, one, worker=worker.pid)
            worker.process.send_signal(signal.SIGTERM)


def stop(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """SIGSTOP, and CONT when the time is over: a machine that swaps, a paused container."""
    with workers.one(one.target) as worker:
        if worker is None:
            return
        _note(scene, one, worker=worker.pid)
        worker.process.send_signal(signal.SIGSTOP)
    time.sleep(one.seconds)
    _over(scene, one, worker=worker.pid)
    worker.process.send_signal(signal.SIGCONT)


def pause(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """USR2 and CONT: it takes no jobs meanwhile. One that boots has no handler yet, and is left alone."""
    with workers.one(one.target) as worker:
        if worker is None or not _has_begun(scene, worker.pid):
            return
        _note(scene, one, worker=worker.pid)
        worker.process.send_signal(signal.SIGUSR2)
    time.sleep(one.seconds)
    _over(scene, one, worker=worker.pid)
    worker.process.send_signal(signal.SIGCONT)


def _has_begun(scene: Scene, worker: int) -> bool:
    return any(run.worker == worker for story in scene.history().jobs.values() for run in story.runs)


def kill_slot(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """kill -9 of a slot of the process pool."""
    with workers.one(one.target) as worker:
        slots: list[psutil.Process] = []
        if worker is not None:
            with suppress(psutil.NoSuchProcess):
                slots = psutil.Process(worker.pid).children()
        if slots:
            slot = slots[one.target % len(slots)]
            _note(scene, one, slot=slot.pid)
            with suppress(psutil.NoSuchProcess):
                slot.kill()


def scale(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """One worker more or less."""
    _note(scene, one)
    _over(scene, one, now=workers.scale(one.target))


def restart(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """`queue:restart`."""
    _artisan(scene, one, "queue:restart")


def down(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """Maintenance mode for a while."""
    _artisan(scene, one, "down")
    time.sleep(one.seconds)
    _artisan(scene, one, "up")


# brokers and databases ────────────────────────────────────────────────────────────────────────────────────────────────


def broker_kill(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """kill -9 of a broker, and its start on what it has on its disk."""
    _harm(scene, one, "kill", "start")


def broker_freeze(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """A broker that answers nothing for a while, with its connections open."""
    _harm(scene, one, "freeze", "thaw")


def _harm(scene: Scene, one: Disturbance, harm: str, heal: str) -> None:
    node, number = scene.cluster.node, str(1 + one.target % scene.cluster.nodes)
    assert node is not None, "these brokers are shared"
    with scene.harming:
        _note(scene, one, node=number)
        node(harm, number)
        time.sleep(one.seconds)
        node(heal, number)
        _over(scene, one, node=number)


def lock(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """A transaction that keeps all others out of the database."""
    _note(scene, one)
    scene.database.lock(one.seconds)
    _over(scene, one)


def database_away(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """A database that can't be reached; where it is a file, it is locked instead."""
    _note(scene, one)
    with scene.cutting:
        scene.database.go_away(one.seconds)
    _over(scene, one)


# what operators do ────────────────────────────────────────────────────────────────────────────────────────────────────


def retry(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """`queue:retry all`."""
    _artisan(scene, one, "queue:retry", "all")


def cancel(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """`queue:cancel` of a job that waits in the table."""
    waiting = [
        (story.n, story.id)
        for story in scene.history().jobs.values()
        if story.order.is_cancelled and story.acknowledged is not None and not story.cancelling
    ]
    if waiting:
        n, id = waiting[one.target % len(waiting)]
        scene.note("cancelling", n=n)
        status = _artisan(scene, one, "queue:cancel", id)
        scene.note("cancelled", n=n, status=status)


def partitions(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """One or two partitions more for a topic."""
    topic = scene.topics[one.target % len(scene.topics)]
    _note(scene, one, topic=topic)
    _over(scene, one, topic=topic, partitions=scene.add_partitions(topic, 1 + one.target % 2))


def kill_dispatcher(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """kill -9 of the program that dispatches; another goes on where its ledger ends."""
    _note(scene, one)
    if scene.kill_dispatcher():
        scene.dispatch()


def look(scene: Scene, workers: Workers, one: Disturbance) -> None:
    """The commands by which operators look, which disturb nobody."""
    command = ("kafka:lag", "queue:failed", "queue:delayed", "queue:health")[one.target % 4]
    _artisan(scene, one, command)


def _artisan(scene: Scene, one: Disturbance, *words: str) -> int:
    """Run a command beside the workers; its exit code, and what it says, are written down."""
    _note(scene, one, command=" ".join(words))
    done = subprocess.run(
        [sys.executable, "artisan.py", *words],
        cwd=scene.project.folder,
        env=scene.project.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND,
        check=False,
    )
    with (scene.project.folder / "commands.log").open("a") as log:
        log.write(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
    said = (done.stdout + done.stderr)[-300:] if done.returncode else ""
    _over(scene, one, command=" ".join(words), status=done.returncode, said=said)
    return done.returncode


KINDS: Mapping[str, Callable[[Scene, Workers, Disturbance], None]] = {
    function.__name__: function
    for function in (
        *(kill, term, stop, pause, kill_slot, scale, restart, down),
        *(broker_kill, broker_freeze, lock, database_away),
        *(retry, cancel, partitions, kill_dispatcher, look),
    )
}
