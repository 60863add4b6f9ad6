"""What workers promise on a connection, whatever their pool; in this process, so that it is quick."""

import asyncio
import faulthandler
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lamplighter.container import Container
from lamplighter.contracts import Message, WorkQueue
from lamplighter.errors import Unavailable
from lamplighter.events import Dispatcher as Events
from lamplighter.queue.claims.claims import refuse_claim
from lamplighter.queue.events import JobProcessing
from lamplighter.queue.failed import Failure, NullFailedJobs
from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.pools.coroutines import CoroutinePool
from lamplighter.queue.pools.making import make_worker
from lamplighter.queue.pools.threads import ThreadPool
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.runner import Runner
from lamplighter.testing.conformance.base import Conformance, message, needs, payload
from lamplighter.testing.probes import AsyncProbe, ManyProbe, Probe
from lamplighter.testing.waiting import LONG

POOLS: Mapping[str, Callable[[Runner], Any]] = {
    "solo": lambda runner: None,
    "thread": lambda runner: ThreadPool(runner, SLOTS),
    "async": lambda runner: CoroutinePool(runner, SLOTS),
}
SLOTS = 3


class Kept(NullFailedJobs):
    """Failed jobs in a list; the first `refusals` of them are refused."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.refusals = 0

    def record(self, failure: Failure) -> str:
        """Keep a job, or refuse."""
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the store of failed jobs is away")
        self.failures.append(failure)
        return failure.identity


class NoErrors:
    """No error is a database's."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """It is none."""
        return False

    def is_deadlock(self, error: BaseException) -> bool:
        """It is none."""
        return False


class Site:
    """What workers of this process share, and what their jobs have done."""

    def __init__(self, connect: Callable[[], WorkQueue], folder: Path, names: tuple[str, ...]) -> None:
        self.names = names
        self.failed = Kept()
        self.events = Events()
        self.is_down_now = False
        self.when_begun: Callable[[Worker], object] = lambda worker: None
        self._connect = connect
        self._folder = folder
        self._pushing: WorkQueue | None = None

    def is_down(self) -> bool:
        """Whether the application is in maintenance mode."""
        return self.is_down_now

    def push(self, *messages: Message) -> None:
        """Push them, on one queue after the other."""
        self._pushing = self._pushing or self._connect()
        for place, one in enumerate(messages):
            self._pushing.push(one, queue=self.names[place % len(self.names)])

    def work(self, pool: str, **options: Any) -> int:
        """Have one worker run until it stops; its exit code."""
        container = Container()
        registry = Registry(container)
        registry.register(Probe, AsyncProbe, ManyProbe)
        defaults = options.pop("defaults", Policy(tries=1, backoff=(), timeout=0))
        runner = Runner(registry, container, defaults, read_claim=refuse_claim)
        queue, events = self._connect(), Events()
        settings = WorkerOptions(
            self.names,
            defaults=defaults,
            pool=pool,
            concurrency=1 if pool == "solo" else SLOTS,
            **{"sleep": 0.05, "max_time": LONG, **options},
        )
        worker = make_worker(
            queue,
            runner,
            Failing(self.failed, runner),
            events,
            settings,
            database_errors=NoErrors(),
            maintenance=self,
            pool=POOLS[pool](runner),
        )
        events.listen(JobProcessing, lambda event: self.when_begun(worker))
        worker.look_for_maintenance()
        worker.jobs.prepare()
        queue.open(self.names, worker.control.bell, worker.has_further_start, slots=settings.slots)
        try:
            return worker.work()
        finally:
            assert worker.drain(LONG)
            assert queue.close(timeout=5)

    def attempts(self, event: str) -> dict[int, list[int]]:
        """The attempts of each job that an event was written of."""
        found: dict[int, list[int]] = {}
        for fields in self._events(event):
            found.setdefault(fields["n"], []).append(fields["attempts"])
        return found

    def calls(self) -> list[int]:
        """How many jobs each call of `handle_many` had."""
        return [fields["n"] for fields in self._events("call")]

    def _events(self, event: str) -> list[dict[str, Any]]:
        path = self._folder / "ledger.jsonl"
        lines = path.read_text().splitlines() if path.exists() else ()
        return [fields for fields in map(json.loads, lines) if fields["event"] == event]


class WorkerConformance(Conformance):
    """A driver gives `connect`, or `config` where each connection that is made from it has the same jobs."""

    @pytest.fixture
    def site_of_two(
        self,
        connect: Callable[[], WorkQueue],
        queues: tuple[str, str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Site]:
        """Workers of two queues."""
        monkeypatch.setenv("PROBES", str(tmp_path))
        made: list[asyncio.Runner] = []
        make = asyncio.Runner

        def keep() -> asyncio.Runner:
            made.append(make())
            return made[-1]

        monkeypatch.setattr(asyncio, "Runner", keep)  # a thread that has awaited a job keeps its loop for ever
        yield Site(connect, tmp_path, queues)
        for runner in made:
            runner.close()
        faulthandler.cancel_dump_traceback_later()  # a job with a timeout has set it

    @pytest.fixture(params=[1, 2], ids=["one queue", "two queues"])
    def site(self, request: pytest.FixtureRequest, site_of_two: Site) -> Site:
        """Workers of one queue, or of two."""
        site_of_two.names = site_of_two.names[: request.param]
        return site_of_two

    @pytest.fixture(params=POOLS)
    def pool(self, request: pytest.FixtureRequest) -> str:
        """Where jobs run."""
        return str(request.param)

    def test_each_job_runs_once_and_the_worker_stops_when_there_is_none(self, site: Site, pool: str) -> None:
        site.push(*(message(n, ["probe", "async probe"][n % 3 == 0], text="ü🚀") for n in range(14)))

        status = site.work(pool, stop_when_empty=True)

        assert status == 0
        assert site.attempts("end") == {n: [1] for n in range(14)}

    def test_a_worker_that_waits_for_more_stops_when_it_has_been_idle(
        self, site_of_two: Site, tmp_path: Path, pool: str
    ) -> None:
        gate, idle = tmp_path / "gates/shut", 0.5
        gate.parent.mkdir()
        opening = threading.Timer(2 * idle, gate.touch)
        site_of_two.when_begun = lambda worker: None if opening.is_alive() or gate.exists() else opening.start()
        site_of_two.push(*(message(n, gate="shut") for n in range(SLOTS + 2)))

        began = time.monotonic()
        site_of_two.work(pool, stop_when_empty_for=idle)

        assert time.monotonic() - began < LONG
        assert site_of_two.attempts("end") == {n: [1] for n in range(SLOTS + 2)}

    @needs("delays")
    def test_a_job_that_fails_is_tried_as_often_as_it_may_be(self, site: Site, pool: str) -> None:
        fails = payload(2, fail=9)
        site.push(message(1, fail=2), Message(fails))

        site.work(pool, defaults=Policy(tries=3, backoff=(self.step,), timeout=0), max_jobs=6)

        assert site.attempts("start") == {1: [1, 2, 3], 2: [1, 2, 3]}
        assert site.attempts("end") == {1: [3]}
        [failure] = site.failed.failures
        told = {**json.loads(failure.payload), "attempts": 0}
        assert told == json.loads(fails)
        assert (failure.queue, failure.attempts) == (site.names[-1], 3)
        assert failure.connection

    @needs("delays")
    def test_a_job_that_releases_itself_runs_again(self, site: Site, pool: str) -> None:
        site.push(message(1, release=self.step))

        site.work(pool, defaults=Policy(tries=2, backoff=(), timeout=0), max_jobs=2)

        assert site.attempts("end") == {1: [2]}

    @needs("delays", "crashes")
    def test_a_job_that_has_released_itself_is_started_as_often_as_it_may_be(self, site: Site, pool: str) -> None:
        site.push(message(1, release=self.step), message(2))

        site.work(pool, max_jobs=3)

        assert site.attempts("start") == {1: [1], 2: [1]}
        assert [type(failure.error).__name__ for failure in site.failed.failures] == ["MaxAttemptsExceeded"]

    @needs("excuses", "delays")
    def test_a_service_that_is_away_costs_no_attempt(self, site_of_two: Site) -> None:
        site_of_two.push(message(1, away=1))

        site_of_two.work("solo", max_jobs=2)

        assert site_of_two.attempts("start") == {1: [1, 1]}
        assert site_of_two.attempts("end") == {1: [1]}
        assert site_of_two.failed.failures == []

    def test_what_is_no_payload_fails_with_its_bytes_and_stops_nobody(self, site: Site, pool: str) -> None:
        raw = b'{"job": "nobody\'s", "data": [1, 2, 3], "attempts": 0}'
        site.push(Message(b"{"), Message(raw), message(3))

        site.work(pool, stop_when_empty=True)

        assert sorted(failure.payload for failure in site.failed.failures) == sorted([b"{", raw])
        assert site.attempts("end") == {3: [1]}

    def test_a_failed_job_waits_for_its_store_and_is_not_run_again(self, site_of_two: Site) -> None:
        site_of_two.failed.refusals = 1
        fails = payload(1, fail=9)
        site_of_two.push(Message(fails), message(2))

        site_of_two.work("solo", stop_when_empty=True)

        assert site_of_two.attempts("start") == {1: [1], 2: [1]}
        assert [failure.payload for failure in site_of_two.failed.failures] == [fails]
        assert [failure.attempts for failure in site_of_two.failed.failures] == [1]

    def test_many_jobs_share_a_call(self, site_of_two: Site, pool: str) -> None:
        site_of_two.names = site_of_two.names[:1]
        site_of_two.push(*(message(n, "many probes") for n in range(8)))

        site_of_two.work(pool, stop_when_empty=True)

        assert site_of_two.attempts("end") == {n: [1] for n in range(8)}
        assert max(site_of_two.calls()) > 1

    @needs("delays")
    def test_jobs_of_one_call_are_settled_each_on_its_own(self, site: Site, pool: str) -> None:
        site.push(*(message(n, "many probes", fail=int(n == 4)) for n in range(6)))

        site.work(pool, max_jobs=7)

        assert site.attempts("end") == {n: [2 if n == 4 else 1] for n in range(6)}
        assert site.failed.failures == []

    def test_a_call_that_breaks_is_run_one_by_one(self, site: Site, pool: str) -> None:
        site.push(*(message(n, "many probes", breaks=n == 1) for n in range(4)))

        site.work(pool, stop_when_empty=True, defaults=Policy(tries=1, backoff=(), timeout=0))

        assert site.attempts("end") == {n: [1] for n in (0, 2, 3)}

    @needs("two workers", "excuses")
    def test_a_worker_that_is_told_to_restart_leaves_the_rest_as_it_was(self, site: Site, pool: str) -> None:
        site.push(*(message(n) for n in range(9)))
        site.when_begun = lambda worker: worker.control.ask_to_stop(StopReason.RESTART_SIGNAL)

        status = site.work(pool)
        done = len(site.attempts("end"))
        site.when_begun = lambda worker: None
        site.work(pool, stop_when_empty=True)

        assert status == 0
        assert 1 <= done <= SLOTS
        assert site.attempts("end") == {n: [1] for n in range(9)}

    @needs("two workers", "excuses")
    @pytest.mark.parametrize("limit", [{"once": True}, {"max_jobs": 1}, {"max_jobs": 2}], ids=str)
    def test_a_worker_runs_no_more_jobs_than_it_may(self, site: Site, pool: str, limit: dict[str, Any]) -> None:
        site.push(*(message(n, "many probes" if n < 3 else "probe") for n in range(6)))

        site.work(pool, **limit)
        done = len(site.attempts("end"))
        site.work(pool, stop_when_empty=True)

        assert done == limit.get("max_jobs", 1)
        assert site.attempts("end") == {n: [1] for n in range(6)}

    def test_in_maintenance_mode_no_job_is_taken(self, site: Site, pool: str) -> None:
        site.push(*(message(n) for n in range(3)))
        site.is_down_now = True

        site.work(pool, stop_when_empty=True)
        begun = site.attempts("start")
        site.is_down_now = False
        site.work(pool, stop_when_empty=True)

        assert begun == {}
        assert site.attempts("end") == {n: [1] for n in range(3)}
