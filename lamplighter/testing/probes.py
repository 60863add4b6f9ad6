"""Jobs that do what their data say, and write down what happens to them, in the processes of a test."""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lamplighter.contracts import Delivery
from lamplighter.errors import Unavailable
from lamplighter.queue.failed import Failure, NullFailedJobs
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry
from lamplighter.support.provider import ServiceProvider

LOOK = 0.01  # seconds
GATE = 60.0  # seconds that a gate may be shut


def folder() -> Path:
    """The project's folder."""
    return Path(os.environ["PROBES"])


def note(event: str, **fields: Any) -> None:
    """Write one line into the ledger, whole, whoever writes beside this process."""
    line = json.dumps({"event": event, "pid": os.getpid(), "at": time.time(), **fields}) + "\n"
    handle = os.open(folder() / "ledger.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


@dataclass(frozen=True)
class Probe(Job):
    """Does what its data say, in this order.

    Attributes:
        gate: it waits until this gate is open.
        deaf: nothing that is raised in it meanwhile ends it.
        kill: its process is killed in each of the first so many attempts.
        release: seconds after which it is to run again, in its first attempt; negative where it is not.
        away: a service is away, so many times.
        fail: it raises in the first so many attempts.
        deadly: its `failed` kills its process.
    """

    name = "probe"

    n: int = 0
    gate: str = ""
    deaf: bool = False
    kill: int = 0
    release: float = -1
    away: int = 0
    fail: int = 0
    deadly: bool = False
    text: str = ""

    def handle(self, delivery: Delivery) -> None:
        """Run once."""
        note("start", n=self.n, attempts=delivery.attempts, queue=delivery.queue)
        until = time.monotonic() + GATE
        while self.gate and not (folder() / "gates" / self.gate).exists() and time.monotonic() < until:
            try:
                time.sleep(LOOK)
            except BaseException:
                if not self.deaf:
                    raise
        self.end(delivery)

    def end(self, delivery: Delivery) -> None:
        """What comes after the gate."""
        if delivery.attempts <= self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.release >= 0 and delivery.attempts == 1:
            delivery.release(self.release)
            return
        seen = folder() / f"away-{self.n}"
        if self.away > (len(seen.read_text()) if seen.exists() else 0):
            with seen.open("a") as file:
                file.write(".")
            raise Unavailable("the service of a test is away")
        if delivery.attempts <= self.fail:
            raise RuntimeError(f"job {self.n} fails")
        note("end", n=self.n, attempts=delivery.attempts)

    def failed(self, error: BaseException) -> None:
        """Write it down."""
        note("failed", n=self.n, error=type(error).__name__)
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class AsyncProbe(Probe):
    """The same, where it waits for its gate without a thread."""

    name = "async probe"

    async def handle(self, delivery: Delivery) -> None:  # type: ignore[override]
        """Run once."""
        note("start", n=self.n, attempts=delivery.attempts, queue=delivery.queue)
        until = time.monotonic() + GATE
        while self.gate and not (folder() / "gates" / self.gate).exists() and time.monotonic() < until:
            await asyncio.sleep(LOOK)
        self.end(delivery)


@dataclass(frozen=True)
class ManyProbe(Job):
    """Many in one call; those whose `fail` is set fail by themselves, and one that `breaks` fails the whole call.

    One with a `kill` kills the process of its call, in each of its first so many attempts.
    """

    name = "many probes"
    batch_size = 4
    batch_wait_ms = 100  # where the first one comes before the others
    tries = 2

    n: int = 0
    fail: int = 0
    kill: int = 0
    breaks: bool = False

    @classmethod
    def handle_many(cls, jobs: Sequence[Self], deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        """Run a call."""
        note("call", n=len(jobs), jobs=[job.n for job in jobs])
        if any(delivery.attempts <= job.kill for job, delivery in zip(jobs, deliveries, strict=True)):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(job.breaks for job in jobs):
            raise RuntimeError("the call is broken")
        errors: list[BaseException | None] = []
        for job, delivery in zip(jobs, deliveries, strict=True):
            fails = delivery.attempts <= job.fail
            errors.append(RuntimeError(f"job {job.n} fails") if fails else None)
            note("failing" if fails else "end", n=job.n, attempts=delivery.attempts)
        return errors


class LedgerFailedJobs(NullFailedJobs):
    """Writes failed jobs into the ledger, unless the test says that this store is away."""

    def record(self, failure: Failure) -> str:
        """Keep a job."""
        if (folder() / "refuse").exists():
            raise Unavailable("the store of failed jobs is away")
        note(
            "recorded",
            n=0,
            payload=base64.b64encode(failure.payload).decode(),
            connection=failure.connection,
            queue=failure.queue,
            error=type(failure.error).__name__,
            attempts=failure.attempts,
        )
        return failure.identity


class ProbeServiceProvider(ServiceProvider):
    """Registers the probes, and keeps failed jobs in the ledger."""

    def register(self) -> None:
        """Bind both."""
        self.app.singleton("lamplighter.queue.jobs.registry:Registry", self._registry)
        self.app.singleton("lamplighter.queue.failed:FailedJobs", LedgerFailedJobs)

    def _registry(self) -> Registry:
        registry = Registry(self.app)
        registry.register(Probe, AsyncProbe, ManyProbe)
        return registry
