"""Outages of services."""

import time

import pytest

from lamplighter.queue.worker.outages import MOST, QUIET, Outages


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, set by hand."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_an_outage_is_new_once_however_long_it_goes_on(clock: list[float]) -> None:
    outages = Outages()
    news = []
    for _ in range(600):
        news.append(outages.is_new("the database is away"))
        clock[0] += 1

    assert news == [True] + [False] * 599
    assert outages.is_new("the broker is away")


def test_an_outage_that_comes_back_is_new(clock: list[float]) -> None:
    outages = Outages()
    outages.is_new("away")

    clock[0] += QUIET + 1

    assert outages.is_new("away")


def test_outages_that_are_over_are_forgotten(clock: list[float]) -> None:
    outages = Outages()
    for number in range(10 * MOST):
        clock[0] += QUIET / 2
        assert outages.is_new(f"away {number}")

    assert len(vars(outages)["_met"]) <= MOST
