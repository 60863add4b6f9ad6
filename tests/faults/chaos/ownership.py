"""Who had which partition until when: what excuses that a job is begun again."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.chaos.history import History, Run, WorkerStory
from tests.faults.chaos.left import LogLine
from tests.faults.ledger import CHANGE, CLOCK, COMMIT, ROOM

HARM = ("broker_kill", "broker_freeze")
BACK = 15.0  # seconds after brokers are back until all clients are, too
LATE = 20.0  # seconds until a worker knows that the group has given its partition to another
HAND = 5.0  # seconds that a job which is in hand may wait for its slot
LONG_FREEZE = 1.0  # seconds of a stop that may cost a session of three
NEVER = float("inf")
GIVEN_AWAY = "partitions are given away with jobs in hand, which will run again"


@dataclass(frozen=True)
class Loss:
    """A worker lost a partition, or all of them (""), at a moment.

    Attributes:
        kind: `killed` (from outside), `died` (of a job, or of its own end), `frozen`, `lost` (the group took it for
            dead), `given away` (in order, with jobs in hand), `unsaid` (in order, and its last commit was refused).
    """

    at: float
    kind: str
    partition: str = ""


class Ownership:
    """The losses of all workers."""

    def __init__(self, history: History, logs: Iterable[LogLine]) -> None:
        self._history = history
        self._losses: dict[int, list[Loss]] = defaultdict(list)
        self._refused: list[float] = []
        self._away = [(since, until + BACK) for since, until in history.windows(*HARM)]
        for worker in history.workers.values():
            self._losses[worker.pid] += _ends(worker)
            self._losses[worker.pid] += [
                Loss(since, "frozen") for since, until in worker.frozen if until - since > LONG_FREEZE
            ]
        for line in logs:
            self._read(line)

    def _read(self, line: LogLine) -> None:
        said = line.message.partition(";")[0]
        losses = self._losses[line.worker]
        if said == "partitions lost":
            losses += [Loss(line.at, "lost", name) for name in line.entry["partitions"].split(", ")]
        elif line.message == GIVEN_AWAY:
            losses += [Loss(line.at, "given away", name) for name in line.entry["partitions"].split(", ")]
        elif said in ("commit at revocation failed", "the broker did not answer"):
            losses.append(Loss(line.at, "unsaid"))
        elif said in ("commit refused", "commit metadata refused"):
            self._refused.append(line.at)

    def losses(self, worker: int, partition: str, since: float, until: float) -> list[Loss]:
        """What this worker lost of a partition in a time; it may come to know later that the group took it away."""
        return [
            loss
            for loss in self._losses[worker]
            if loss.partition in ("", partition)
            and since - CLOCK <= loss.at <= until + (LATE if loss.kind == "lost" else CLOCK)
        ]

    def crashes(self, since: float, until: float) -> int:
        """How many workers lost what they had in a time, but for those that left in order."""
        return sum(
            since - CLOCK <= loss.at <= until + CLOCK
            for losses in self._losses.values()
            for loss in {(loss.at, loss.kind): loss for loss in losses}.values()
        )

    def was_zombie(self, run: Run) -> bool:
        """Whether a worker that had just gone on, after a freeze, began a run that was another's by then."""
        worker = self._history.workers.get(run.worker)
        return worker is not None and any(0 <= run.began - until < COMMIT + ROOM for _, until in worker.frozen)

    def was_given_away(self, run: Run) -> bool:
        """Whether a run was in hand when its worker gave the partition away, and waited for a slot."""
        losses = self.losses(run.worker, run.partition, run.began - HAND, run.began)
        return any(loss.kind == "given away" for loss in losses)

    def gave_away(self, run: Run) -> bool:
        """Whether its worker gave the partition away while a run was in hand, which went on to its end there."""
        losses = self.losses(run.worker, run.partition, run.began, run.ended or NEVER)
        return any(loss.kind == "given away" for loss in losses)

    def untold(self, run: Run, loss: Loss) -> float:
        """For how long a run that had ended could have been committed before its worker lost it, and was not."""
        assert run.ended is not None
        if loss.kind != "killed" and loss.kind != "died":
            return 0.0  # what it did last was refused, or came to nobody
        waited = loss.at - run.ended
        sent = self._unanswered(run.worker, loss.at)
        if sent is not None:
            waited = min(waited, max(0.0, sent - run.ended))
        for since, until in [*self._away, *((at - CHANGE, at) for at in self._refused), *self._frozen(run.worker)]:
            if since - COMMIT - ROOM <= run.ended <= until + ROOM:
                waited = min(waited, max(0.0, loss.at - until))
        return waited

    def _frozen(self, worker: int) -> list[tuple[float, float]]:
        found = self._history.workers.get(worker)
        return found.frozen if found is not None else []

    def _unanswered(self, worker: int, until: float) -> float | None:
        """Since when the last commit of a worker was under way that had no answer."""
        sent = None
        for line in self._history.commits[worker]:
            if line["at"] > until:
                break
            sent = line["at"] if line["event"] == "commit sent" else None
        return sent

    def are_brokers_away(self, moment: float) -> bool:
        """Whether brokers were harmed at this moment, or shortly before."""
        return any(since - CLOCK <= moment <= until for since, until in self._away)


def _ends(worker: WorkerStory) -> list[Loss]:
    """How a worker's process ended, unless it was in order."""
    if worker.killed is not None:
        return [Loss(worker.killed, "killed")]
    if worker.ended is not None and worker.status != 0:
        return [Loss(worker.ended, "died")]
    return []
