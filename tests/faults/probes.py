"""The jobs of the fault tests: they write down what becomes of them, and die as their data say."""

import asyncio
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamplighter.contracts import Delivery
from lamplighter.foundation.shortcuts import dispatch
from lamplighter.queue.jobs.job import Job
from tests.faults.dying import die
from tests.faults.noting import note, note_commits

LEDGER = Path(os.environ["LEDGER"])


def started(n: int) -> int:
    """How often a job was started, whatever its attempts say."""
    return sum('"start"' in line and f'"n": {n},' in line for line in LEDGER.read_text().splitlines())


@dataclass(frozen=True)
class Probe(Job):
    """Does what its data say; `lane` is its key."""

    name = "probe"

    n: int = 0
    lane: str = ""
    sleep: float = 0
    fail_until: int = 0
    die: str = ""
    die_until: int = 1_000_000
    die_starts: int = 1_000_000
    swallow: bool = False
    work: float = 0
    release: float = 0
    later: float = 0
    due: float = 0

    def key(self) -> str | None:
        """What it is kept in order by."""
        return self.lane or None

    def handle(self, delivery: Delivery) -> None:
        """Start, wait, perhaps die or fail, end."""
        run = self.begin(delivery)
        until = time.monotonic() + self.sleep
        while (left := until - time.monotonic()) > 0:
            try:
                time.sleep(left)
            except BaseException:
                if not self.swallow:
                    raise
        until = time.thread_time() + self.work
        while time.thread_time() < until:
            pass
        self.finish(delivery, run)

    def begin(self, delivery: Delivery) -> str:
        """Write the start down, and die where that is wanted."""
        run = uuid.uuid4().hex
        self.note("start", delivery, run, due=self.due)
        if self.die and delivery.attempts <= self.die_until and started(self.n) <= self.die_starts:
            die(self.die)
        return run

    def finish(self, delivery: Delivery, run: str) -> None:
        """Write the end down, or the error."""
        if delivery.attempts <= self.fail_until:
            self.note("error", delivery, run)
            raise RuntimeError(f"boom {self.n}")
        if self.later:
            dispatch(type(self)(n=self.n + 1000), delay=self.later)
        if self.release and delivery.attempts == 1:
            self.note("released", delivery, run)
            delivery.release(self.release)
            return
        self.note("end", delivery, run)

    def note(self, event: str, delivery: Delivery, run: str = "", **fields: Any) -> None:
        """A line about this run."""
        note(event, n=self.n, run=run, attempts=delivery.attempts, position=delivery.position, lane=self.lane, **fields)

    def failed(self, error: BaseException, delivery: Delivery) -> None:
        """It is recorded as failed."""
        self.note("failed", delivery, error=type(error).__name__)


@dataclass(frozen=True)
class AsyncProbe(Probe):
    """The same for one event loop."""

    name = "aprobe"

    async def handle(self, delivery: Delivery) -> None:  # type: ignore[override]
        """Start, wait, perhaps die or fail, end."""
        run = self.begin(delivery)
        await asyncio.sleep(self.sleep)
        self.finish(delivery, run)


note_commits()
