"""Workers of one store that do anything in any order, over lines that break anywhere; and what must come of it."""

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lamplighter.contracts import Message
from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, How, JobStore, Lease
from tests.lamplighter.queue.drivers.leasing.cutting import Cutting
from tests.lamplighter.queue.drivers.leasing.possible import Jobs, State

IS_LONG = os.environ.get("FAULTS") == "long"
SECONDS = 60.0 if IS_LONG else 2.5  # how long one run goes on
LEASE = 2  # seconds
LONGEST = 120.0  # seconds until all that is left has run
QUEUES = ("high", "low")
TEXTS = ("", 'é\\"{}[]', ',"attempts":9}')
Make = Callable[[Cutting | None], JobStore]


@dataclass(eq=False)
class Worker:
    """One process with a store of its own."""

    store: JobStore
    line: Cutting | None
    held: dict[Lease, int] = field(default_factory=dict)
    ended: list[tuple[Ended, int]] = field(default_factory=list)
    told_at: dict[Lease, float] = field(default_factory=dict)  # when an end was told first
    is_unsure: bool = False  # its last take had no answer


class Fuzz:
    """One run; FAULTS_SEED has the same operations once more.

    Args:
        make: makes the store of one more worker, over a line where there is one.
        target: the server's address, where there is one.
    """

    def __init__(self, make: Make, target: tuple[str, int] | None = None) -> None:
        self.seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
        print(f"FAULTS_SEED={self.seed}")  # noqa: T201
        self.chance = random.Random(self.seed)
        self.jobs = Jobs(LEASE)
        self._make = make
        self._target = target
        self._number = 0
        self._lines: list[Cutting] = []
        self.workers = [self._worker() for _ in range(3)]

    def run(self) -> None:
        """Do anything for some seconds, then run all jobs that are left: each is there once, or was done."""
        try:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                self._step(self.chance.choice(self.workers))
            self._drain()
        finally:
            for line in self._lines:
                line.end()

    def _step(self, worker: Worker) -> None:
        acts: list[tuple[int, Callable[[Worker], object]]] = [
            (25, self._push),
            (35, self._take),
            (25, self._end),
            (6, self._tell),
            (6, self._renew),
            (3, lambda worker: time.sleep(self.chance.choice([0.05, 0.3]))),
            (1, self._kill),
            (1, self._close),
            (1 if IS_LONG else 0, lambda worker: time.sleep(LEASE + 1.1)),
        ]
        weights = [weight for weight, _ in acts]
        self.chance.choices([act for _, act in acts], weights)[0](worker)

    def _push(self, worker: Worker) -> None:
        delay = self.chance.choice([0, 0, 0, 0.2, 1.0])
        queue = self.chance.choice(QUEUES)
        numbers = [self._number + 1 + index for index in range(self.chance.choice([1, 1, 1, 2, 5]))]
        self._number = numbers[-1]
        messages = [Message(self._payload(number)) for number in numbers]
        self._break(worker)
        due = time.monotonic() + delay if delay else 0.0
        is_sure = True
        try:
            worker.store.push(queue, messages, delay)
        except Unavailable:
            is_sure = False
        for number in numbers:
            self.jobs.pushed(number, queue, due, is_sure=is_sure)

    def _payload(self, number: int) -> bytes:
        text = self.chance.choice(TEXTS)
        fields = {"n": number, "text": text, "data": {"attempts": 7}, "attempts": 0}
        if self.chance.random() < 0.5:
            fields = dict(reversed(fields.items()))
        return json.dumps(fields, ensure_ascii=False).encode()

    def _take(self, worker: Worker) -> None:
        queues = self.chance.choice([QUEUES, QUEUES[::-1], QUEUES[:1], QUEUES[1:]])
        self._break(worker)
        self._ask(worker, queues, self.chance.choice([1, 1, 2, 4]))

    def _tell(self, worker: Worker) -> None:
        self._break(worker)
        self._ask(worker, (), 0)

    def _ask(self, worker: Worker, queues: tuple[str, ...], most: int) -> None:
        ended, asked = list(worker.ended), time.monotonic()
        for end, _ in ended:
            worker.told_at.setdefault(end.lease, asked)
        try:
            leases = worker.store.take(queues, most, [end for end, _ in ended]).leases
        except Unavailable:
            self._settle(worker, ended, is_sure=False)
            self.jobs.unheard(worker, queues, asked, time.monotonic())
            worker.is_unsure = True
            return
        self._settle(worker, ended, is_sure=True)
        del worker.ended[: len(ended)]
        assert worker.is_unsure or len(leases) <= most
        worker.is_unsure = False
        given = {}
        for lease in leases:
            fields = json.loads(lease.payload)
            given[lease] = fields["n"], fields["attempts"] + lease.retries + 1
            assert self.jobs.by_number[fields["n"]].queue == lease.queue
            worker.held[lease] = fields["n"]
        self.jobs.taken(worker, given, asked, time.monotonic())

    def _settle(self, worker: Worker, ended: list[tuple[Ended, int]], *, is_sure: bool) -> None:
        now = time.monotonic()
        for end, number in ended:
            self.jobs.ended(number, end, worker.told_at[end.lease], now, is_sure=is_sure)

    def _end(self, worker: Worker) -> None:
        if worker.held:
            lease = self.chance.choice(list(worker.held))
            how = self.chance.choice([How.DELETED, *How])
            delay = self.chance.choice([0, 0.3, 1.0]) if how in (How.RELEASED, How.EXCUSED) else 0.0
            worker.ended.append((Ended(lease, how, delay), worker.held.pop(lease)))

    def _renew(self, worker: Worker) -> None:
        if not worker.held:
            return
        self._break(worker)
        asked = time.monotonic()
        try:
            lost = worker.store.renew(list(worker.held))
        except Unavailable:
            return
        self.jobs.renewed(worker.held, lost, asked, time.monotonic())
        for lease in lost:
            del worker.held[lease]

    def _kill(self, worker: Worker) -> None:
        """Its store hears nothing more of it."""
        self.jobs.killed(worker)
        self._replace(worker)

    def _close(self, worker: Worker) -> None:
        """An end in order, over a line that breaks once more."""
        worker.ended += [(Ended(lease, How.GIVEN_BACK), number) for lease, number in worker.held.items()]
        worker.held.clear()
        self._tell(worker)
        self._break(worker)
        worker.store.close()
        self.jobs.killed(worker)
        self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        self.workers[self.workers.index(worker)] = self._worker()

    def _worker(self) -> Worker:
        line = Cutting(self._target) if self._target is not None else None
        self._lines += [] if line is None else [line]
        return Worker(self._make(line), line)

    def _break(self, worker: Worker) -> None:
        if worker.line is not None and self.chance.random() < 0.25:
            bytes_ = self.chance.choice([0, 1, 5, 30, 100, 200, 400, 800, 1500])
            worker.line.cut_after(bytes_, answers=self.chance.random() < 0.6)

    def _drain(self) -> None:
        for worker in self.workers:
            if worker.line is not None:
                worker.line.mend()
            for _ in range(5):
                self._ask(worker, (), 0)
            worker.ended += [(Ended(lease, How.DELETED), number) for lease, number in worker.held.items()]
            worker.held.clear()
            self._ask(worker, (), 0)
        last = self.workers[0]
        began = came_at = time.monotonic()
        while time.monotonic() < min(began + LONGEST, came_at + 3 * LEASE + 4) and not self._is_empty(last.store):
            self._ask(last, QUEUES, 4)
            if last.held:
                came_at = time.monotonic()
            last.ended += [(Ended(lease, How.DELETED), number) for lease, number in last.held.items()]
            last.held.clear()
            self._ask(last, (), 0)
            time.sleep(0.02)
        assert self._is_empty(last.store), f"FAULTS_SEED={self.seed}: {[last.store.sizes(queue) for queue in QUEUES]}"
        assert not self.jobs.left(), f"FAULTS_SEED={self.seed}: jobs are lost: {self.jobs.left()}"
        assert any(State("gone") in job.states for job in self.jobs.by_number.values())

    def _is_empty(self, store: JobStore) -> bool:
        sizes = [store.sizes(queue) for queue in QUEUES]
        return not any(one.pending or one.delayed or one.reserved for one in sizes)
