"""The restart signal, as a worker sees it."""

from collections.abc import Callable

import pytest

from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.queue.restart import KEY, RestartSignal, RestartWatch

STARTED = 1000.0


class Values:
    """A cache that says one thing after the other; an exception is raised."""

    def __init__(self, *values: int | Exception | None) -> None:
        self._values = list(values)

    def __call__(self) -> int | None:
        value = self._values.pop(0)
        if isinstance(value, Exception):
            raise value
        return value


def looks(read: Callable[[], int | None], count: int) -> list[bool]:
    """What the looks after the first read say."""
    watch = RestartWatch(read, started_at=STARTED)
    watch.first_read()
    return [watch.look() for _ in range(count)]


DOWN = ConnectionError("down")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((None, None, 7), [False, True]),
        ((5, 5, 6), [False, True]),
        ((5, None, None), [False, False]),
        ((5, None, 5), [False, False]),
        ((5, DOWN, 5), [False, False]),
        ((5, DOWN, 6), [False, True]),
        ((5, 4), [True]),
        ((DOWN, 900, 900, 901), [False, False, True]),
        ((DOWN, 1001), [True]),
        ((DOWN, None, 900), [False, True]),
        ((DOWN, DOWN, 900), [False, False]),
    ],
)
def test_only_a_value_that_is_there_and_different_stops(
    values: tuple[int | Exception | None, ...], said: list[bool]
) -> None:
    assert looks(Values(*values), len(said)) == said


def test_a_broadcast_is_always_later_than_the_one_before() -> None:
    cache = Cache(ArrayStore())
    cache.forever(KEY, 9_000_000_000)

    assert [RestartSignal(cache).broadcast() for _ in range(2)] == [9_000_000_001, 9_000_000_002]


@pytest.mark.parametrize("value", ["soon", True, [1], 1.5])
def test_what_is_no_time_is_no_signal(value: object) -> None:
    cache = Cache(ArrayStore())
    cache.forever(KEY, value)

    assert RestartSignal(cache).read() is None
