"""How long an answer is looked for, and where that is left to sleep."""

import select
import socket
import time
from collections.abc import Iterator
from itertools import groupby

import pytest

from lamplighter.support import looking as module
from lamplighter.support.looking import KEPT, LATE, LONGEST, TRIES, Looking

SHORT, LONG = 20e-6, 60e-6  # seconds of a call


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


class Machine:
    """A clock, and a socket that has an answer after so many looks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked = 0.0
        self.looks = 0
        self.answers_after = 1
        self._seen = 0

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def thread_time(self) -> float:
        """The processor time."""
        return self.worked

    def register(self, link: object, events: int) -> None:
        """For `select.poll`."""

    def poll(self, wait: int) -> list[int]:
        """A look; it takes as long as a tenth of the longest time that looks are taken in."""
        self.looks += 1
        self._seen += 1
        self.now += LONGEST / 10
        return [1] if self._seen >= self.answers_after else []

    def ask(self, looking: Looking, *, slept: float, looked: float, looked_worked: float = 0.0) -> bool:
        """One call; whether its answer was looked for."""
        if looking.is_trying:
            looking.begin()
        began, before, self._seen = self.now, self.looks, 0
        looking.look()
        has_looked = self.looks > before
        self.now = began + (looked if has_looked else slept)
        self.worked += looked_worked if has_looked else 0.0
        looking.end()
        return has_looked


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose time the test makes."""
    machine = Machine()
    monkeypatch.setattr(module, "time", machine)
    monkeypatch.setattr(select, "poll", lambda: machine)
    return machine


@pytest.fixture
def looking(machine: Machine, ends: tuple[socket.socket, socket.socket]) -> Looking:
    """What is tried on that machine."""
    return Looking(ends[0])


def test_an_answer_that_is_there_is_left_there(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    looking = Looking(near)
    far.sendall(b"answer")

    looking.look()

    assert not looking.is_quiet()
    assert near.recv(100) == b"answer"
    assert looking.is_quiet()


def test_an_answer_that_comes_late_is_not_waited_for(ends: tuple[socket.socket, socket.socket]) -> None:
    looking = Looking(ends[0])
    began = time.monotonic()

    looking.look()

    assert LONGEST <= time.monotonic() - began < 5
    assert looking.is_quiet()


def test_a_connection_that_the_other_side_closes_is_not_quiet(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    looking = Looking(near)
    far.close()

    looking.look()

    assert not looking.is_quiet()
    assert near.recv(100) == b""


def test_a_connection_that_this_side_has_closed_is_not_quiet(ends: tuple[socket.socket, socket.socket]) -> None:
    looking = Looking(ends[0])
    ends[0].close()

    looking.look()

    assert not looking.is_quiet()


def test_looking_is_kept_where_it_is_faster(machine: Machine, looking: Looking) -> None:
    tried = [machine.ask(looking, slept=LONG, looked=SHORT) for _ in range(2 * TRIES)]
    then = [machine.ask(looking, slept=LONG, looked=SHORT) for _ in range(KEPT)]

    assert sum(tried) == TRIES
    assert all(then)
    assert looking.is_trying


@pytest.mark.parametrize(
    ("looked", "looked_worked"), [(LONG, 0.0), (2 * LONG, 0.0), (SHORT, 2 * LONG)], ids=["same", "slower", "dearer"]
)
def test_sleeping_is_kept_where_looking_gains_nothing(
    machine: Machine, looking: Looking, looked: float, looked_worked: float
) -> None:
    for _ in range(2 * TRIES):
        machine.ask(looking, slept=LONG, looked=looked, looked_worked=looked_worked)
    then = [machine.ask(looking, slept=LONG, looked=looked) for _ in range(KEPT)]
    anew = [machine.ask(looking, slept=LONG, looked=SHORT) for _ in range(2 * TRIES + 1)]

    assert not any(then)
    assert sum(anew[:-1]) == TRIES
    assert anew[-1]


def test_sleeping_is_kept_for_longer_each_time_that_looking_gains_nothing(machine: Machine, looking: Looking) -> None:
    has_looked = [machine.ask(looking, slept=SHORT, looked=LONG) for _ in range(20 * KEPT)]

    runs = [len(list(run)) for looks, run in groupby(has_looked) if not looks]

    assert [length // KEPT for length in runs[:4]] == [1, 2, 4, 8]


def test_a_call_that_the_machine_has_held_up_decides_nothing(machine: Machine, looking: Looking) -> None:
    machine.ask(looking, slept=LONG, looked=10.0)
    for _ in range(2 * TRIES - 1):
        machine.ask(looking, slept=LONG, looked=SHORT)

    assert machine.ask(looking, slept=LONG, looked=SHORT)


def test_answers_that_begin_to_come_late_have_both_ways_compared_at_once(machine: Machine, looking: Looking) -> None:
    for _ in range(2 * TRIES + 10):
        machine.ask(looking, slept=LONG, looked=SHORT)

    machine.answers_after = 1000
    for _ in range(LATE + 2 * TRIES):
        machine.ask(looking, slept=LONG, looked=LONG + LONGEST)

    assert not machine.ask(looking, slept=LONG, looked=LONG + LONGEST)
