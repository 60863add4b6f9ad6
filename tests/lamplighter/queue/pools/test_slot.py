"""The worker inside of a process slot."""

import faulthandler
import logging
from dataclasses import dataclass

import pytest

from lamplighter.queue.job import Job
from lamplighter.queue.pools.slot import SlotWorker
from tests.lamplighter.queue.conftest import Bench


@dataclass(frozen=True)
class Quick(Job):
    """Ends at once."""

    name = "quick"

    def handle(self) -> None:
        """Nothing to do."""


def test_the_end_of_a_slot_is_not_told_as_that_of_a_worker(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    bench.worker(make=SlotWorker).work()

    assert caplog.records == []


def test_a_slot_that_waits_has_no_timer_of_its_last_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[str] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: timers.append("set"))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: timers.append("cancelled"))
    bench.queue.add("quick")

    bench.worker(Quick, make=SlotWorker).work()

    assert timers == ["set", "cancelled"]
