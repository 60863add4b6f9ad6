"""What stands around the loop. Real processes are looked at in tests/kafka."""

import time
from pathlib import Path

import pytest

from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.queue.guard.health import Heartbeat, read_health
from lamplighter.queue.guard.pausing import PauseSignals, PauseWatch
from lamplighter.queue.guard.process import WorkerProcess
from lamplighter.queue.guard.restart import RestartWatch
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.runner import Runner
from tests.lamplighter.queue.conftest import Bench


def process(bench: Bench, folder: Path, **waits: float) -> WorkerProcess:
    """A worker's process that is not begun."""
    runner = Runner(bench.registry, bench.container, Policy(tries=1, backoff=(), timeout=60))
    worker = bench.worker()
    return WorkerProcess(
        worker=worker,
        queue=bench.queue,
        failing=Failing(bench.failed_jobs, runner),  # type: ignore[arg-type]
        events=bench.events,
        options=WorkerOptions(queues=("jobs",), **waits),  # type: ignore[arg-type]
        heartbeat=Heartbeat(folder, "list", ("jobs",)),
        restart=RestartWatch(lambda: None, started_at=0.0),
        pauses=PauseWatch(PauseSignals(Cache(ArrayStore())), bench.queue, worker.control, bench.events, ("jobs",)),
        flush=lambda: None,
        leave_within=lambda seconds: None,
    )


@pytest.mark.parametrize(("waits", "is_late"), [({"sleep": 3}, True), ({"sleep": 60}, False), ({"rest": 60}, False)])
def test_a_worker_that_was_told_to_wait_is_no_standstill(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: dict[str, float], is_late: bool
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now - 40)
    watched = process(bench, tmp_path, **waits)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watched.worker.jobs.beaten_at = now - 40

    watched.beat()

    assert ("worker" in read_health(tmp_path)[0].late(30)) is is_late
