"""Slots that are threads."""

import threading
from typing import Any, cast

import pytest

from lamplighter.errors import QueueError
from lamplighter.queue.pools.threads import ThreadPool
from lamplighter.queue.worker.runner import Runner


def test_a_host_without_room_for_all_threads_is_told_how_many_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPool(cast(Runner, None), 5)
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)

    with pytest.raises(QueueError, match=r"Of 5 threads 2 could be started.*--concurrency"):
        pool.open(cast(Any, None))

    pool.close()
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)
