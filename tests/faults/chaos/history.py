"""What has happened in a round, made of its ledger: each job with its dispatch, its starts and its ends."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.chaos.plan import Order, Round

Line = Mapping[str, Any]
# How a handler comes to its end, as its job writes it down before it returns or raises.
ENDS = frozenset({"end", "error", "broken", "released", "gave up"})


@dataclass(eq=False)
class Run:
    """One start of a job.

    Attributes:
        worker: the process of `queue:work`, which is not `pid` where a slot is a process.
        call: what it shares with those that were begun in one call; "" where it was begun alone.
        how: how its handler came to its end: `end`, `error` (raised), `broken` (something else was raised in it),
            `released`, `gave up`; None where it never did.
        dies: it is about to end its process.
        delay: for which it has released itself.
    """

    id: str
    n: int
    position: str
    attempts: int
    pid: int
    worker: int
    began: float
    call: str = ""
    ended: float | None = None
    how: str | None = None
    error: str = ""
    dies: bool = False
    delay: float = 0.0

    @property
    def partition(self) -> str:
        """`topic[partition]`."""
        return self.position.partition("@")[0]

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        return int(self.position.partition("@")[2])


@dataclass(eq=False)
class Story:
    """One job: what was ordered, and what became of it.

    Attributes:
        dispatched: when each try to dispatch it began.
        pushed: when its parents' pushes had returned, by their runs.
        hooks: the lines of its `failed()`.
        told: what workers told of its ends: failed, released, overdue.
        cancelling, cancelled: whether somebody has tried to cancel it, and when that was acknowledged.
    """

    order: Order
    dispatched: list[float] = field(default_factory=list)
    acknowledged: float | None = None
    id: str = ""
    pushed: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    hooks: list[Line] = field(default_factory=list)
    told: list[Line] = field(default_factory=list)
    cancelling: bool = False
    cancelled: float | None = None
    lines: list[Line] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Its number."""
        return self.order.n

    @property
    def has_ended(self) -> bool:
        """Whether one of its runs has come to a good end."""
        return any(run.how == "end" for run in self.runs)

    @property
    def has_failed(self) -> bool:
        """Whether it was among the failed jobs, by what its hook and its workers say."""
        return bool(self.hooks) or any(line["event"] == "told failed" for line in self.told)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come of it, as far as the ledger tells."""
        is_called_off = self.cancelled is not None or self.order.fate == "waits"
        return is_called_off or self.has_ended or self.has_failed


@dataclass(eq=False)
class WorkerStory:
    """One process of `queue:work`.

    Attributes:
        killed, termed: when it was sent KILL, and first TERM.
        frozen: when it was stopped and went on.
    """

    pid: int
    place: int
    log: str
    started: float
    ended: float | None = None
    status: int | None = None
    killed: float | None = None
    termed: float | None = None
    frozen: list[tuple[float, float]] = field(default_factory=list)


class History:
    """A round's ledger, read as stories.

    Attributes:
        positions: the runs at each position, in their order.
        commits: what workers have written down of their commits, by their process.
    """

    def __init__(self, round: Round, lines: Iterable[Line]) -> None:
        self.round = round
        self.lines = sorted(lines, key=lambda line: line["at"])
        self.jobs = {order.n: Story(order) for order in round.orders}
        self.workers: dict[int, WorkerStory] = {}
        self.disturbances: list[Line] = []
        self.positions: dict[str, list[Run]] = defaultdict(list)
        self.told_failed: dict[str, list[Line]] = defaultdict(list)
        self.commits: dict[int, list[Line]] = defaultdict(list)
        self._runs: dict[str, Run] = {}
        for line in self.lines:
            self._take(line)

    @property
    def began(self) -> float:
        """When its first line was written."""
        return float(self.lines[0]["at"]) if self.lines else 0.0

    @property
    def tries(self) -> int:
        """How often a job is started that does not say it itself."""
        return self.round.setting.tries

    def runs(self) -> Iterable[Run]:
        """Every run."""
        return self._runs.values()

    def windows(self, *kinds: str) -> list[tuple[float, float]]:
        """When disturbances of these kinds began and were over; without end where nobody wrote that down."""
        found: list[tuple[float, float]] = []
        for line in self.disturbances:
            if line["event"] == "disturbance" and line["kind"] in kinds:
                over = [
                    other["at"]
                    for other in self.disturbances
                    if other["event"] == "over" and other["kind"] == line["kind"] and other["at"] >= line["at"]
                ]
                found.append((line["at"], min(over, default=float("inf"))))
        return found

    def _take(self, line: Line) -> None:
        event = line["event"]
        if event in ("worker started", "worker ended"):
            self._take_worker(line)
        elif event in ("disturbance", "over"):
            self._take_disturbance(line)
        elif event in ("commit sent", "commit answered"):
            self.commits[line["pid"]].append(line)
        if event == "told failed":
            self.told_failed[line["position"]].append(line)
        story = self.jobs.get(line.get("n", -1))
        if story is not None:
            story.lines.append(line)
            self._take_job(story, line)

    def _take_worker(self, line: Line) -> None:
        pid = line["worker"]
        if line["event"] == "worker started":
            self.workers[pid] = WorkerStory(pid, line.get("place", 0), line.get("log", ""), line["at"])
        else:
            self.workers[pid].ended, self.workers[pid].status = line["at"], line["status"]

    def _take_disturbance(self, line: Line) -> None:
        self.disturbances.append(line)
        worker = self.workers.get(line.get("worker", -1))
        if worker is None:
            return
        kind, is_over = line["kind"], line["event"] == "over"
        if kind == "kill":
            worker.killed = line["at"]
        elif kind == "term":
            worker.termed = worker.termed or line["at"]
        elif kind == "stop" and not is_over:
            worker.frozen.append((line["at"], float("inf")))
        elif kind == "stop":
            worker.frozen[-1] = (worker.frozen[-1][0], line["at"])

    def _take_job(self, story: Story, line: Line) -> None:
        event, at = line["event"], line["at"]
        if event == "dispatching":
            story.dispatched.append(at)
        elif event == "acknowledged":
            story.acknowledged, story.id = at, line.get("id", "")
        elif event == "pushing":
            story.dispatched.append(at)
        elif event == "pushed":
            story.pushed[line["run"]] = at
        elif event == "cancelling":
            story.cancelling = True
        elif event == "cancelled" and line["status"] == 0:
            story.cancelled = at
        elif event == "failed":
            story.hooks.append(line)
        elif event.startswith("told "):
            story.told.append(line)
        elif event == "start":
            self._start(story, line)
        elif event == "dies":
            self._runs[line["run"]].dies = True
        elif event in ENDS:
            run = self._runs[line["run"]]
            run.ended, run.how = at, event
            run.error, run.delay = line.get("raises") or line.get("error", ""), line.get("delay", 0.0)

    def _start(self, story: Story, line: Line) -> None:
        worker = line["parent"] if line["parent"] in self.workers else line["pid"]
        run = Run(
            line["run"],
            line["n"],
            line["position"],
            line["attempts"],
            line["pid"],
            worker,
            line["at"],
            line.get("call", ""),
        )
        self._runs[run.id] = run
        story.runs.append(run)
        self.positions[run.position].append(run)


def read_ledger(file: Path) -> list[Line]:
    """The lines of a ledger; one that is being written at this moment is left out."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]
