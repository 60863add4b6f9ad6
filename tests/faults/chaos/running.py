"""Runs one round: sets it up, disturbs it, lets it come to rest, and looks at what is left."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.chaos.clusters import Cluster
from tests.faults.chaos.disturbances import Disturbing
from tests.faults.chaos.evidence import Evidence
from tests.faults.chaos.history import History
from tests.faults.chaos.left import collect, offsets
from tests.faults.chaos.plan import Round
from tests.faults.chaos.promises import Breach, breaches
from tests.faults.chaos.scene import Scene
from tests.faults.chaos.workers import Workers
from tests.faults.ledger import Watcher

BOOT = 60.0  # seconds for the first worker to be given partitions
REST = 130.0  # seconds; partitions that no static member has are given out after about a minute
DISPATCHER = 60.0  # seconds for the last dispatches
SHUTDOWN = 40.0  # seconds for workers to end
LOOK = 0.5  # seconds between two looks at whether all is done
WATCH = 0.1  # seconds between two looks at what is committed


@dataclass
class Outcome:
    """What a round has shown.

    Attributes:
        rested: seconds from the last disturbance until all was done.
    """

    round: Round
    evidence: Evidence
    breaches: list[Breach]
    folder: Path
    seconds: float
    rested: float

    def __str__(self) -> str:
        history = self.evidence.history
        starts, setting = sum(1 for _ in history.runs()), self.round.setting
        return (
            f"seed {self.round.seed}: {len(self.breaches)} broken; {setting.pool}, {setting.nodes} nodes, "
            f"{len(history.jobs)} jobs, {starts} starts, {len(history.workers)} workers, "
            f"{len(self.evidence.left.failed)} failed; {self.rested:.0f} s to rest, {self.seconds:.0f} s in all"
        )


def run(round: Round, folder: Path, cluster: Cluster, *, sabotage: str = "") -> Outcome:
    """Run one round in a folder of its own; `sabotage` names what is broken in it on purpose."""
    since = time.monotonic()
    scene = Scene(folder, round, cluster, sabotage=sabotage)
    workers = Workers(scene)
    watchers = [
        Watcher(scene.broker.address, scene.group, topic, round.setting.partitions, every=WATCH)
        for topic in scene.topics
    ]
    try:
        for watcher in watchers:
            watcher.start()
        workers.start()
        _await_work(scene)
        scene.dispatch()
        disturbing = Disturbing(scene, workers)
        disturbing.start()
        disturbing.join()
        status = scene.await_dispatcher(seconds=DISPATCHER)
        calm = time.monotonic()
        _rest(scene)
        rested, alive = time.monotonic() - calm, len(workers.alive())
        workers.end(seconds=SHUTDOWN)
        for watcher in watchers:
            watcher.end()
        left = collect(scene, alive=alive)
    finally:
        workers.cease()
        for watcher in watchers:
            watcher.end()
        scene.close()
    if disturbing.errors:
        raise disturbing.errors[0]
    assert status == 0, f"the dispatcher ended with {status}: {left.dispatcher[-3000:]}"
    left.seen = {
        f"{topic}[{number}]": [(at, offset, said) for at, n, offset, said in watcher.seen if n == number]
        for topic, watcher in zip(scene.topics, watchers, strict=True)
        for number in range(round.setting.partitions)
    }
    evidence = Evidence(scene.history(), left)
    return Outcome(round, evidence, breaches(evidence), folder, time.monotonic() - since, rested)


def _await_work(scene: Scene) -> None:
    """Wait until one worker has partitions: what is done to those that boot disturbs no job."""
    deadline = time.monotonic() + BOOT
    while time.monotonic() < deadline:
        logs = (scene.project.log(worker.log) for worker in scene.history().workers.values())
        if any(f'"partitions": "{topic}[' in log for log in logs for topic in scene.topics):
            return
        time.sleep(LOOK)
    raise AssertionError(f"no worker was given a partition within {BOOT:g} s")


def _rest(scene: Scene) -> None:
    """Wait until all is done and committed, or the time for it is over."""
    deadline = time.monotonic() + REST
    while time.monotonic() < deadline:
        if _is_done(scene.history()):
            ends, committed = offsets(scene)
            if ends == committed:
                return
        time.sleep(LOOK)


def _is_done(history: History) -> bool:
    for story in history.jobs.values():
        is_pushed = bool(story.pushed) and not history.jobs[story.order.parent].has_failed
        is_awaited = is_pushed or (story.acknowledged is not None and story.order.raw is None)
        if is_awaited and not story.is_over:
            return False
    return True
