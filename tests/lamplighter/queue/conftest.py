"""A worker whose connection is a list in memory."""

import asyncio
import faulthandler
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import msgspec
import pytest

from lamplighter.container import Container
from lamplighter.contracts import DatabaseErrors, DriverDelivery, HasFurtherStart, Headers, HeldJob, Message, Sizes
from lamplighter.events import Dispatcher as Events
from lamplighter.queue.claims.claims import refuse_claim
from lamplighter.queue.failed import Failure
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.pools.coroutines import CoroutinePool
from lamplighter.queue.pools.making import make_worker
from lamplighter.queue.pools.threads import ThreadPool
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.runner import Runner


@pytest.fixture(autouse=True)
def no_timer_that_outlives_its_test() -> Iterator[None]:
    """A worker that was given a job with a timeout leaves a timer behind, which would end the tests' own process."""
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def no_event_loop_that_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each thread that has awaited a job keeps its loop, as long as the process lives."""
    made: list[asyncio.Runner] = []
    make = asyncio.Runner

    def keep() -> asyncio.Runner:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "Runner", keep)
    yield
    for runner in made:
        runner.close()


class ListDelivery:
    """A delivery that remembers how it was settled."""

    connection = "list"
    queue = "jobs"
    timestamp_ms = None

    def __init__(self, payload: bytes, line: "deque[ListDelivery]", key: bytes | None) -> None:
        self.payload = payload
        self.key = key
        self.headers: Headers = ()
        self.retries = 0
        self.has_crashed = False
        self.excused = 0
        self.failure: BaseException | None = None
        self.is_recorded = False
        self.is_suspect = False
        self.singly = False
        self.settled: list[tuple[Any, ...]] = []
        self._line = line

    @property
    def position(self) -> str:
        """Where it stands."""
        return "jobs[0]@0"

    def delete(self) -> None:
        """Done."""
        self.settled.append(("delete",))

    def release(self, delay: float, *, counted: bool = True) -> None:
        """Stand first in line again, at once: no test waits for a backoff."""
        self.settled.append(("release", delay, counted))
        if counted:
            self.retries += 1
        else:
            self.excused += 1
        self._line.appendleft(self)

    def keep(self) -> None:
        """Stay in hand."""
        self.settled.append(("keep",))

    def put_back(self) -> None:
        """Stand first in line again, but behind a job of its key that is to be tried again."""
        self.settled.append(("put back",))
        before = [place for place, other in enumerate(self._line) if other.key == self.key and other.retries]
        self._line.insert(before[-1] + 1 if before else 0, self)

    def follows(self, other: DriverDelivery) -> bool:
        """Jobs of one key follow each other; none asks in another order."""
        return self.key == other.key

    def count_crash(self) -> bool:
        """Its worker ends: say so, unless it has been settled."""
        if any(how != ("keep",) for how in self.settled):
            return False
        self.settled.append(("crash",))
        return True

    def fail(self, error: BaseException) -> None:
        """Failed."""
        self.settled.append(("fail", type(error).__name__))


@dataclass
class ListQueue:
    """A connection to work that is a list."""

    connection: str = "list"
    default_queue: str = "jobs"
    deadlock_wait: float = 2.0
    served_by: int = 0
    lacks: Mapping[str, str] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    line: deque[ListDelivery] = field(default_factory=deque)
    is_busy: Callable[[], bool] = lambda: False

    def add(self, job: str, data: Any = None, *, key: bytes | None = b"key", **envelope: Any) -> ListDelivery:
        """Put a job into the line."""
        return self.add_raw(msgspec.json.encode({"job": job, "data": data, "uuid": "u-1", **envelope}), key=key)

    def add_raw(self, payload: bytes, *, key: bytes | None = b"key") -> ListDelivery:
        """Put bytes into the line."""
        delivery = ListDelivery(payload, self.line, key)
        self.line.append(delivery)
        return delivery

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Put a message into the line."""
        self.add_raw(message.payload, key=message.key)

    def bulk(self, messages: Iterable[Message], *, queue: str) -> int:
        """Put messages into the line."""
        before = len(self.line)
        for message in messages:
            self.push(message, queue=queue)
        return len(self.line) - before

    def open(
        self,
        names: Sequence[str],
        bell: "SimpleQueue[object]",
        has_further_start: HasFurtherStart | None = None,
        *,
        slots: int = 1,
    ) -> None:
        """Nothing to open."""

    def pop(self, names: Sequence[str], wait: float) -> DriverDelivery | None:
        """The first in line."""
        return self.line.popleft() if self.line and self.default_queue not in self.paused else None

    def pause(self, names: Collection[str]) -> None:
        """Give nothing of these queues."""
        self.paused = frozenset(names)

    def sizes(self, queue: str) -> Sizes:
        """How long the line is."""
        return Sizes(len(self.line), 0)

    def clear(self, queue: str) -> int:
        """Forget the line."""
        count = len(self.line)
        self.line.clear()
        return count

    def held(self, *, most: int) -> Sequence[HeldJob]:
        """Nothing waits."""
        return ()

    def cancel(self, id: str) -> int:
        """Nothing waits."""
        return 0

    def read_claim(self, delivery: DriverDelivery) -> bytes:
        """Nothing is kept elsewhere."""
        return refuse_claim(delivery)

    def serve(self, wait: float) -> None:
        """Nothing is acknowledged later."""

    def is_exhausted(self) -> bool:
        """Whether nothing is in line that may be popped, and nothing is in hand that may come back."""
        return not ((self.line and self.default_queue not in self.paused) or self.is_busy())

    def polled_at(self) -> float:
        """Always alive."""
        return 0.0

    def stall(self, *, is_busy: bool) -> str | None:
        """It never stands still."""
        return None

    def close(self, *, timeout: float) -> bool:
        """Nothing to let go of."""
        return True


@dataclass
class ListFailedJobs:
    """A store of failed jobs that may refuse."""

    records: list[Failure] = field(default_factory=list)
    refusals: int = 0

    def record(self, failure: Failure) -> str:
        """Keep a job, or refuse."""
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("the store is away")
        self.records.append(failure)
        return str(failure.uuid)


@dataclass
class Errors:
    """A database layer that knows two errors by their names."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """Whether it is a ConnectionResetError."""
        return isinstance(error, ConnectionResetError)

    def is_deadlock(self, error: BaseException) -> bool:
        """Whether it is a BlockingIOError."""
        return isinstance(error, BlockingIOError)


@dataclass
class Up:
    """An application that is up, or down."""

    down: bool = False

    def is_down(self) -> bool:
        """What the test says."""
        return self.down


class Bench:
    """Everything around a worker, in memory."""

    def __init__(self) -> None:
        self.container = Container()
        self.events = Events()
        self.queue = ListQueue()
        self.failed_jobs = ListFailedJobs()
        self.maintenance = Up()
        self.database_errors: DatabaseErrors = Errors()
        self.registry = Registry(self.container)

    def worker(self, *jobs: type[Job], **options: Any) -> Worker:
        """A worker that knows these jobs; `make` makes one of another class."""
        make: Callable[..., Worker] = options.pop("make", make_worker)
        self.registry.register(*jobs)
        defaults = options.pop("defaults", Policy(tries=1, backoff=(), timeout=60))
        read_claim = options.pop("read_claim", refuse_claim)
        runner = Runner(self.registry, self.container, defaults, read_claim=read_claim)
        failing = Failing(self.failed_jobs, runner)  # type: ignore[arg-type]
        return make(
            self.queue,
            runner,
            failing,
            self.events,
            WorkerOptions(queues=("jobs",), defaults=defaults, **{"stop_when_empty": True, "sleep": 0, **options}),
            database_errors=self.database_errors,
            maintenance=self.maintenance,
        )

    def work(self, worker: Worker) -> int:
        """Have a worker run all that is there, whatever its pool; its exit code."""
        self.queue.is_busy = lambda: not worker.hand.is_empty()
        worker.jobs.prepare()
        return worker.work()


def solo(*arguments: Any, **keywords: Any) -> Worker:
    """A worker that runs jobs itself."""
    return make_worker(*arguments, **keywords)


def threads(queue: Any, runner: Runner, *arguments: Any, **keywords: Any) -> Worker:
    """A worker with two threads."""
    return make_worker(queue, runner, *arguments, pool=ThreadPool(runner, 2), **keywords)


def coroutines(queue: Any, runner: Runner, *arguments: Any, **keywords: Any) -> Worker:
    """A worker with an event loop."""
    return make_worker(queue, runner, *arguments, pool=CoroutinePool(runner, 2), **keywords)


POOLS = [solo, threads, coroutines]


@pytest.fixture
def bench() -> Bench:
    """Everything around a worker."""
    return Bench()
