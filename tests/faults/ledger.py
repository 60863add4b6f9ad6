"""What brokers and jobs have said, and whether both can be true: nothing lost, nothing known run again."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from lamplighter.kafka.partitions.offset_map import OffsetMap

LOOK = 0.05  # seconds between two looks at the committed offsets
COMMIT = 1.0  # seconds between two commits
ROOM = 1.5  # seconds more, for a machine that is busy
CHANGE = 3.0  # seconds that a group may take to change; a commit waits behind the join meanwhile, and is refused then
CLOCK = 0.25  # seconds between a thing and the line about it

Line = dict[str, Any]


class Watcher(threading.Thread):
    """Reads a group's committed offsets and their metadata, again and again, beside the workers."""

    def __init__(self, address: str, group: str, topic: str, partitions: int, *, every: float = LOOK) -> None:
        super().__init__(name="watcher", daemon=True)
        self._every = every
        self.seen: list[tuple[float, int, int, str]] = []  # when it was known, partition, offset, metadata
        self.told_at = 0.0
        self._consumer = Consumer(
            {"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        )
        self._wanted = [TopicPartition(topic, number) for number in range(partitions)]
        self._ending = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        last: dict[int, tuple[int, str]] = {}
        while not self._ending.wait(self._every):
            try:
                found = self._consumer.committed(self._wanted, timeout=5)
            except KafkaException:
                continue  # the brokers are away
            self.told_at = now = time.time()
            for tp in found:
                said = tp.offset, tp.metadata or ""
                if tp.error is None and tp.offset >= 0 and last.get(tp.partition) != said:
                    last[tp.partition] = said
                    self.seen.append((now, tp.partition, *said))
        self._consumer.close()

    def end(self) -> None:
        """Look once more, and stop."""
        asked = time.time()
        deadline = asked + 10
        while self.told_at < asked + LOOK and time.time() < deadline and self.is_alive():
            time.sleep(LOOK)
        self._ending.set()
        self.join(20)


@dataclass
class Run:
    """One start of one message."""

    position: str
    worker: int
    began: float
    attempts: int
    ended: float | None = None
    has_failed: bool = False


@dataclass
class Events:
    """What excuses that a job is run again.

    Attributes:
        kills: when each worker was killed, by its process id.
        away: when brokers were away, or a group changed, so that nothing could be committed.
        revoked, lost: when each partition was taken from a worker, by its name.
        thawed: when workers that were frozen went on; until they are told of their loss they begin what they have.
        unanswered: since when the last commit of a worker was under way that had no answer.
        unsaid: when a commit at a revocation was refused; the mock cluster does that where groups change quickly.
    """

    kills: dict[int, float] = field(default_factory=dict)
    away: list[tuple[float, float]] = field(default_factory=list)
    revoked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lost: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    unsaid: list[float] = field(default_factory=list)
    thawed: dict[int, float] = field(default_factory=dict)
    unanswered: dict[int, float] = field(default_factory=dict)

    def read_commits(self, lines: Iterable[Line]) -> None:
        """Add what workers have written down about their commits, oldest first."""
        for line in lines:
            if line["event"] == "commit sent":
                self.unanswered[line["pid"]] = line["at"]
            elif line["event"] == "commit answered":
                self.unanswered.pop(line["pid"], None)

    def read_log(self, text: str) -> None:
        """Add what a worker has logged about its partitions."""
        for line in text.splitlines():
            if not line.startswith("{"):
                continue
            entry = json.loads(line)
            said = entry["message"].partition(";")[0]
            at = datetime.fromisoformat(entry["timestamp"]).timestamp()
            if said == "commit at revocation failed":
                self.unsaid.append(at)
            if said == "commit refused":
                self.away.append((at - CHANGE, at))
            kind = {"partitions revoked": self.revoked, "partitions lost": self.lost}.get(said)
            for partition in entry["partitions"].split(", ") if kind is not None else ():
                kind[partition].append(at)  # type: ignore[index]

    def is_zombie(self, run: Run) -> bool:
        """Whether a run was begun by a worker that could not know yet that it had lost everything."""
        return 0 <= run.began - self.thawed.get(run.worker, float("inf")) < COMMIT

    def was_in_hand(self, run: Run) -> bool:
        """Whether a run had begun and not ended when its partition was taken."""
        moments = self.revoked[run.position.partition("@")[0]]
        return any(run.began - CLOCK <= at <= (run.ended or at) + CLOCK for at in moments)

    def waited(self, run: Run) -> float:
        """How long a run had ended before its owner did, less what it could not be committed in."""
        ended = run.ended or 0.0
        ends = [at for at in (*self.lost[run.position.partition("@")[0]], *self.unsaid) if at >= ended]
        if run.worker in self.kills:
            ends.append(self.kills[run.worker])
        if not ends:
            return float("inf")
        waited = min(ends) - ended
        if run.worker in self.unanswered:
            # What ended later could not be told: one commit is under way at a time.
            waited = min(waited, max(0.0, self.unanswered[run.worker] - ended))
        for since, until in self.away:
            if since - COMMIT - ROOM <= ended <= until + ROOM:
                waited = min(waited, max(0.0, min(ends) - until))
        return waited


class Broken(AssertionError):
    """A promise was broken; unlike what took too long on a busy machine, that is tried no second time."""


@dataclass
class Verdict:
    """What a checker has found; without `wrong` and `late` all is well.

    Attributes:
        wrong: what must never be.
        late: what was run again though there was time to commit it.
    """

    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    starts: int = 0
    again_unfinished: int = 0
    again_finished: int = 0
    known_beyond_prefix: int = 0

    def __str__(self) -> str:
        return (
            f"{self.starts} starts; run again: {self.again_unfinished} that were in hand, "
            f"{self.again_finished} that had ended; "
            f"{self.known_beyond_prefix} told as done beyond a prefix; {len(self.wrong)} wrong, {len(self.late)} late"
        )


def check(
    lines: Iterable[Line],
    *,
    topic: str,
    acknowledged: Iterable[int] = (),
    seen: Sequence[tuple[float, int, int, str]] = (),
    events: Events | None = None,
) -> Verdict:
    """Compare the ledger with what was acknowledged to producers, and with what was committed, at each moment."""
    verdict = Verdict()
    events = events or Events()
    entries = sorted(lines, key=lambda line: line["at"])
    events.read_commits(entries)
    runs = _runs(entries, set(events.kills))
    verdict.starts = sum(map(len, runs.values()))
    ended = {line["n"] for line in entries if line["event"] in ("end", "failed")}
    lost = sorted(set(acknowledged) - ended)
    if lost:
        verdict.wrong.append(f"{len(lost)} acknowledged jobs were lost: {lost[:10]}")
    finished: dict[str, float] = {}
    for line in entries:
        if line["event"] in ("end", "failed", "released"):
            finished.setdefault(line["position"], line["at"])
    known = _known(verdict, seen, topic, finished)
    for position, starts in runs.items():
        late = [run for run in starts if run.began > known.get(position, float("inf")) and not events.is_zombie(run)]
        if late:
            verdict.wrong.append(
                f"{position} was started {late[0].began - known[position]:.2f} s after it was committed as done"
            )
        _count_again(verdict, starts, events)
    return verdict


def _runs(entries: Iterable[Line], workers: set[int]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = defaultdict(list)
    by_id: dict[str, Run] = {}
    for line in entries:
        if line["event"] == "start":
            worker = line["parent"] if line["parent"] in workers else line["pid"]
            run = by_id[line["run"]] = Run(line["position"], worker, line["at"], line["attempts"])
            runs[line["position"]].append(run)
        elif line["event"] in ("end", "error", "released"):
            run = by_id[line["run"]]
            run.ended, run.has_failed = line["at"], line["event"] != "end"
    return runs


def _known(
    verdict: Verdict, seen: Sequence[tuple[float, int, int, str]], topic: str, finished: Mapping[str, float]
) -> dict[str, float]:
    """When each position was first committed as done; what is committed without being done is wrong."""
    known: dict[str, float] = {}
    reached: dict[int, int] = defaultdict(int)

    def tell(partition: int, offset: int, at: float) -> None:
        position = f"{topic}[{partition}]@{offset}"
        if position in known:
            return
        known[position] = at
        if finished.get(position, float("inf")) > at:
            verdict.wrong.append(f"{position} was committed before it was done")

    for at, partition, offset, metadata in seen:
        if offset < reached[partition]:
            verdict.wrong.append(f"{topic}[{partition}] went back from {reached[partition]} to {offset}")
        for one in range(reached[partition], offset):
            tell(partition, one, at)
        reached[partition] = max(reached[partition], offset)
        handover = OffsetMap.decode(metadata, offset)
        if handover is None:
            verdict.wrong.append(f"{topic}[{partition}] was committed at {offset} with {metadata!r}")
            continue
        if len(metadata) > 3000:
            verdict.wrong.append(f"{topic}[{partition}] has {len(metadata)} characters of metadata at {offset}")
        unfinished = set(handover.unfinished)
        for one in range(offset, handover.frontier):
            if one not in unfinished:
                verdict.known_beyond_prefix += f"{topic}[{partition}]@{one}" not in known
                tell(partition, one, at)
    return known


def _count_again(verdict: Verdict, starts: Sequence[Run], events: Events) -> None:
    for run, following in pairwise(starts):
        if run.has_failed:
            continue  # a retry
        in_hand = run.ended is None or run.ended > following.began or events.was_in_hand(run)
        if in_hand or events.is_zombie(following):
            verdict.again_unfinished += 1
            continue
        verdict.again_finished += 1
        waited = events.waited(run)
        if waited > COMMIT + ROOM:
            verdict.late.append(
                f"{run.position} was run again though it had ended {waited:.1f} s before its worker did"
            )


def read_numbers(file: Any) -> list[int]:
    """The numbers that a producer has written down; a last line without its end was never written."""
    numbers = []
    with suppress(FileNotFoundError):
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                numbers.append(int(line))
    return numbers
