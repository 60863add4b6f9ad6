"""The jobs of a round: each writes down its start and its end, and does between them what its fields say."""

import asyncio
import os
import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import text
from sqlalchemy.orm import Session

from lamplighter import Delivery, Job, dispatch
from tests.faults.dying import die
from tests.faults.noting import note, note_commits

note_commits()

TOPICS = os.environ["CHAOS_TOPICS"].split(",")
INSERT = text("INSERT INTO chaos_rows (n) SELECT :n WHERE NOT EXISTS (SELECT 1 FROM chaos_rows WHERE n = :n)")


class ChaosError(Exception):
    """What a job raises on purpose."""


class ChaosEnd(BaseException):
    """What a library might raise that means to end the program."""


RAISES: dict[str, type[BaseException]] = {
    "error": ChaosError,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "base": ChaosEnd,
}


@dataclass(frozen=True)
class Child:
    """A job that another one pushes."""

    n: int
    delay: float = 0
    topic: int = 0
    lane: str = ""


@dataclass(frozen=True)
class Does:
    """What a handler does, in this order; `until` is always the last attempt at which it does so.

    Attributes:
        die: how it ends its process, for its first `die_until` attempts.
        sleep, work: seconds to wait, and of the processor.
        children: what it pushes.
        fail_until: it raises what `raises` names.
        release: seconds for which it releases itself, for its first `release_until` attempts.
        wish: what it asks of its delivery, `delete` or `fail`; after `delete` it raises, which must change nothing.
    """

    die: str = ""
    die_until: int = 0
    sleep: float = 0
    sleep_until: int = 1_000_000
    work: float = 0
    children: list[Child] = field(default_factory=list)
    raises: str = "error"
    fail_until: int = 0
    release: float = 0
    release_until: int = 0
    wish: str = ""


@dataclass
class Chaos(Job):
    """Does what its fields say; `lane` is its key. `crc` is that of `said`, which must arrive as it was."""

    name = "chaos"

    n: int = 0
    lane: str = ""
    does: Does = field(default_factory=Does)
    said: str = ""
    crc: int = 0

    def key(self) -> str | None:
        """What it is kept in order by."""
        return self.lane or None

    def handle(self, delivery: Delivery) -> None:
        """Start, wait, end."""
        with Running(self, delivery) as running:
            running.begin()
            running.nap()
            running.finish()

    def failed(self, error: BaseException, delivery: Delivery) -> None:
        """It is recorded as failed."""
        note("failed", n=self.n, position=delivery.position, attempts=delivery.attempts, error=type(error).__name__)


@dataclass
class AsyncChaos(Chaos):
    """The same in an event loop."""

    name = "chaos.async"

    async def handle(self, delivery: Delivery) -> None:  # type: ignore[override]
        """Start, wait, end."""
        with Running(self, delivery) as running:
            running.begin()
            await asyncio.sleep(running.seconds)
            running.finish()


@dataclass
class RowChaos(Chaos):
    """Writes a row in the transaction of its session, once however often it runs."""

    name = "chaos.row"

    def handle(self, delivery: Delivery, session: Session) -> None:  # type: ignore[override]
        """Start, write, end."""
        with Running(self, delivery) as running:
            running.begin()
            session.execute(INSERT, {"n": self.n})
            session.commit()
            running.nap()
            running.finish()


@dataclass
class ManyChaos(Chaos):
    """Is handled with others of its kind in one call."""

    name = "chaos.many"
    batch_size = 10
    batch_wait_ms = 20

    @classmethod
    def handle_many(cls, jobs: Sequence[Self], deliveries: Sequence[Delivery]) -> list[BaseException | None]:
        """Start all, then end one after the other."""
        call = uuid.uuid4().hex
        runs = [Running(job, delivery, call=call) for job, delivery in zip(jobs, deliveries, strict=True)]
        for running in runs:
            running.begin()
        return [running.outcome() for running in runs]


class Running:
    """One run of one job, as it writes itself down."""

    def __init__(self, job: Chaos, delivery: Delivery, *, call: str = "") -> None:
        self._job = job
        self._delivery = delivery
        self._has_ended = False
        place = {"n": job.n, "attempts": delivery.attempts, "position": delivery.position}
        self._fields: dict[str, Any] = {"run": uuid.uuid4().hex, **place, **({"call": call} if call else {})}

    @property
    def seconds(self) -> float:
        """How long this attempt waits."""
        does = self._job.does
        return does.sleep if self._delivery.attempts <= does.sleep_until else 0

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not self._has_ended:
            self._end("broken", error=type(error).__name__, text=str(error)[:200])

    def begin(self) -> None:
        """Write the start down, and die where that is wanted."""
        job = self._job
        note("start", **self._fields, is_whole=zlib.crc32(job.said.encode()) == job.crc, headers=_shown(self._delivery))
        if job.does.die and self._delivery.attempts <= job.does.die_until:
            note("dies", **self._fields, how=job.does.die)
            die(job.does.die)

    def nap(self) -> None:
        """Wait as long as it is to."""
        if self.seconds:
            time.sleep(self.seconds)

    def finish(self) -> None:
        """Work, push, and come to the end that is wanted."""
        does, attempts = self._job.does, self._delivery.attempts
        until = time.thread_time() + does.work
        while time.thread_time() < until:
            pass
        for child in does.children:
            note("pushing", n=child.n, by=self._job.n, run=self._fields["run"], delay=child.delay)
            dispatch(Chaos(n=child.n, lane=child.lane), queue=TOPICS[child.topic % len(TOPICS)], delay=child.delay)
            note("pushed", n=child.n, by=self._job.n, run=self._fields["run"])
        if attempts <= does.fail_until:
            self._end("error", raises=does.raises)
            raise RAISES[does.raises](f"boom {self._job.n}")
        if does.release and attempts <= does.release_until:
            self._end("released", delay=does.release)
            self._delivery.release(does.release)
        elif does.wish == "fail":
            self._end("gave up")
            self._delivery.fail(ChaosError(f"given up {self._job.n}"))
        elif does.wish == "delete":
            self._delivery.delete()
            self._end("end")
            raise ChaosError(f"after its delete {self._job.n}")
        else:
            self._end("end")

    def outcome(self) -> BaseException | None:
        """Finish as one of many: what it raises is its own."""
        try:
            with self:
                self.nap()
                self.finish()
        except BaseException as error:
            return error
        return None

    def _end(self, how: str, **fields: Any) -> None:
        self._has_ended = True
        note(how, **self._fields, **fields)


def _shown(delivery: Delivery) -> int:
    """How many headers can be read; reading them must break nothing."""
    return len(delivery.headers)
