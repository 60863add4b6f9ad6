"""Paused queues, as a worker sees them."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.cache.stores.file import FileStore
from lamplighter.errors import CacheUnavailable
from lamplighter.queue.events import WorkerQueuePaused, WorkerQueueResumed
from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.guard.pausing import ALL, PauseSignals, PauseWatch, key_of
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.worker.loop import Worker
from tests.lamplighter.queue.conftest import Bench

QUEUE = "jobs"


class Quiet(Job):
    """Does nothing."""

    def handle(self) -> None:
        """Nothing."""


class Outage:
    """A store that is away."""

    reach = "shared"

    def __init__(self) -> None:
        self.is_away = True
        self.store = ArrayStore()

    def get(self, key: str) -> Any:
        """What is there, or an error."""
        if self.is_away:
            raise CacheUnavailable("the cache is away")
        return self.store.get(key)


@pytest.fixture
def cache() -> Cache:
    """Where everybody looks."""
    return Cache(ArrayStore())


def watch_of(bench: Bench, worker: Worker, cache: Cache, *names: str) -> PauseWatch:
    """What looks beside a worker."""
    return PauseWatch(PauseSignals(cache), bench.queue, worker.control, bench.events, names or (QUEUE,))


def test_a_queue_is_paused_under_laravels_keys(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    signals = PauseSignals(Cache(store))

    signals.pause("redis", "default")
    signals.pause_all()

    written = sorted(path.read_text()[10:] for path in tmp_path.rglob("*") if path.is_file())
    assert (key_of("redis", "default"), ALL) == ("illuminate:queue:paused:redis:default", "illuminate:queues:paused")
    assert written == ["b:1;", "b:1;"]  # what PHP's serialize(true) writes
    assert signals.paused("redis", ["default", "high"]) == {"default", "high"}


@pytest.mark.parametrize("value", [True, 1, "1"])
def test_what_php_takes_for_true_pauses(cache: Cache, value: object) -> None:
    cache.forever(key_of("list", QUEUE), value)

    assert PauseSignals(cache).paused("list", [QUEUE]) == {QUEUE}


@pytest.mark.parametrize("value", [False, 0, "0", ""])
def test_what_php_takes_for_false_does_not(cache: Cache, value: object) -> None:
    cache.forever(key_of("list", QUEUE), value)

    assert PauseSignals(cache).paused("list", [QUEUE]) == frozenset()


def test_a_queue_that_is_paused_by_name_stays_so_when_all_go_on(cache: Cache) -> None:
    signals = PauseSignals(cache)
    signals.pause("list", "low")
    signals.pause_all()

    signals.resume_all()

    assert signals.paused("list", ["low", "high"]) == {"low"}


def test_a_worker_heeds_a_pause_and_its_end_and_tells_each_once(
    bench: Bench, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []
    bench.events.listen(WorkerQueuePaused, heard.append)
    bench.events.listen(WorkerQueueResumed, heard.append)
    worker = bench.worker(Quiet)
    watch = watch_of(bench, worker, cache)
    signals = PauseSignals(cache)

    with caplog.at_level(logging.INFO):
        signals.pause("list", QUEUE)
        watch.look()
        watch.look()
        paused = bench.queue.paused, worker.control.paused_queues
        signals.resume("list", QUEUE)
        watch.look()
        watch.look()

    assert [set(names) for names in paused] == [{QUEUE}, {QUEUE}]
    assert (bench.queue.paused, worker.control.paused_queues) == (frozenset(), frozenset())
    assert heard == [WorkerQueuePaused("list", QUEUE), WorkerQueueResumed("list", QUEUE)]
    assert [record.message.partition(";")[0] for record in caplog.records] == ["queue paused", "queue resumed"]


def test_a_cache_that_is_away_changes_nothing_and_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    outage: Any = Outage()
    outage.is_away = False
    outage.store.put(key_of("list", QUEUE), True, None)
    worker = bench.worker(Quiet)
    watch = watch_of(bench, worker, Cache(outage))
    watch.look()

    outage.is_away = True
    watch.look()
    watch.look()

    assert worker.control.paused_queues == {QUEUE}
    assert sum("the cache can't be read" in record.message for record in caplog.records) == 1


def told_of_all(caplog: pytest.LogCaptureFixture) -> int:
    """How often it was said that all queues are paused."""
    return sum("all queues of this worker are paused" in record.message for record in caplog.records)


def test_a_worker_with_nothing_but_paused_queues_says_so_once_a_minute(
    bench: Bench, cache: Cache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = watch_of(bench, bench.worker(Quiet), cache, QUEUE, "low")
    PauseSignals(cache).pause("list", QUEUE)
    watch.look()
    now += 61
    watch.look()
    before = told_of_all(caplog)
    PauseSignals(cache).pause_all()
    for _ in range(125):
        now += 1
        watch.look()

    assert (before, told_of_all(caplog)) == (0, 2)


@pytest.mark.parametrize("option", [{"stop_when_empty": True}, {"once": True}])
def test_a_worker_that_is_to_stop_at_the_end_of_a_paused_queue_does_not_say_empty(
    bench: Bench, cache: Cache, option: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    worker = bench.worker(Quiet, **option)
    bench.queue.add(Quiet.wire_name())
    PauseSignals(cache).pause_all()
    watch_of(bench, worker, cache).look()
    bench.queue.is_busy = lambda: False

    with caplog.at_level(logging.INFO):
        status = bench.work(worker)

    assert status == StopReason.PAUSED.exit_code == 0
    assert [record.reason for record in caplog.records if record.message == "worker stopping"] == ["paused"]  # type: ignore[attr-defined]
    assert len(bench.queue.line) == 1


def test_a_connection_that_can_not_be_paused_is_left_alone(bench: Bench, cache: Cache) -> None:
    bench.queue.lacks = {"pause": "It never rests."}
    PauseSignals(cache).pause_all()

    watch_of(bench, bench.worker(Quiet), cache).look()

    assert bench.queue.paused == frozenset()


def test_a_listener_that_raises_stops_no_pause(bench: Bench, cache: Cache) -> None:
    def listen(event: WorkerQueuePaused) -> None:
        raise RuntimeError("no")

    bench.events.listen(WorkerQueuePaused, listen)
    PauseSignals(cache).pause_all()

    watch_of(bench, bench.worker(Quiet), cache).look()

    assert bench.queue.paused == {QUEUE}
