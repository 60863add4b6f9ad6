"""The restart signal, as a worker sees it."""

import io
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamplighter.cache.repository import Cache
from lamplighter.cache.stores.array import ArrayStore
from lamplighter.cache.stores.file import FileStore
from lamplighter.console.output import Output
from lamplighter.contracts import Store
from lamplighter.errors import CacheUnavailable
from lamplighter.queue.commands.restart import RestartCommand
from lamplighter.queue.guard.restart import KEY, RestartSignal, RestartWatch
from tests.programs import run

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


DOWN = CacheUnavailable("down")


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


@pytest.mark.parametrize(("value", "said"), [(999, False), (1000, True)])
def test_a_value_of_the_second_of_the_start_may_be_the_later(value: int, said: bool) -> None:
    watch = RestartWatch(Values(DOWN, value), started_at=1000.4)
    watch.first_read()

    assert watch.look() is said


@pytest.mark.parametrize(
    ("value", "exact", "said"),
    [
        (999, None, False),
        (1000, None, True),
        (1000, 1000.3, False),
        (1000, 1000.5, True),
        (1000, 900.0, True),
        (1001, 1001.0, True),
        (9_000_000_000, None, False),
    ],
    ids=["before", "Laravel's", "just before", "just after", "Laravel's after ours", "while booting", "ahead of time"],
)
def test_a_signal_that_was_given_while_the_worker_booted_stops_it(value: int, exact: float | None, said: bool) -> None:
    watch = RestartWatch(lambda: value, started_at=1000.4, read_exact=lambda: exact)
    watch.first_read()

    assert watch.look() is said


def test_a_process_knows_when_it_began() -> None:
    before = time.time()
    program = "from lamplighter.queue.guard.restart import process_began; print(process_began())"

    began = float(run(program))

    assert before - 0.1 < began < time.time()


def test_a_broadcast_says_its_time_with_the_fraction() -> None:
    signal = RestartSignal(Cache(ArrayStore()))
    before = time.time()

    signal.broadcast()

    assert before <= (signal.read_exact() or 0) <= time.time()


def test_a_broadcast_is_always_later_than_the_one_before() -> None:
    cache = Cache(ArrayStore())
    cache.forever(KEY, 9_000_000_000)

    assert [RestartSignal(cache).broadcast() for _ in range(2)] == [9_000_000_001, 9_000_000_002]


@pytest.mark.parametrize("value", ["soon", "²", "9" * 5000, True, [1], 1.5])
def test_what_is_no_time_is_no_signal(value: object) -> None:
    cache = Cache(ArrayStore())
    cache.forever(KEY, value)

    assert RestartSignal(cache).read() is None


def test_the_watching_thread_calls_once_and_ends() -> None:
    cache = Cache(ArrayStore())
    signal = RestartSignal(cache)
    watch = RestartWatch(signal.read, started_at=STARTED)
    watch.first_read()
    called = threading.Event()
    watch.begin(called.set)

    signal.broadcast()

    assert called.wait(5)
    watch.join(5)
    assert not watch.is_alive()


def test_each_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        looks(Values(DOWN, DOWN, 5, DOWN, DOWN), 4)

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.parametrize(("kind", "said"), [("array", "no worker will see"), ("file", "CACHE_STORE=redis")])
def test_the_command_says_how_far_it_reaches(tmp_path: Path, kind: str, said: str) -> None:
    store: Store = ArrayStore() if kind == "array" else FileStore(tmp_path)
    command = RestartCommand(Cache(store))
    screen = io.StringIO()
    command.output = Output(screen, width=200)

    command.handle()

    assert "INFO  Broadcasting queue restart signal." in screen.getvalue()
    assert said in " ".join(screen.getvalue().split())
    assert RestartSignal(Cache(store)).read() is not None


def test_the_command_warns_of_nothing_where_every_host_sees_it() -> None:
    store = ArrayStore()
    store.reach = "shared"
    command = RestartCommand(Cache(store))
    screen = io.StringIO()
    command.output = Output(screen)

    command.handle()

    assert "WARN" not in screen.getvalue()
