"""A process slot from within."""

import logging

import pytest

from lamplighter.queue.pools.slot import SlotWorker
from tests.lamplighter.queue.conftest import Bench


def test_the_end_of_a_slot_is_not_told_as_that_of_a_worker(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    bench.worker(make=SlotWorker).work()

    assert caplog.records == []
