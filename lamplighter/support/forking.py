"""What has to happen to objects when the process is forked: what a fork waits for, and what a child begins anew.

A child has a copy of all memory, but only the thread that forked it. A lock that another thread held stays locked there
for ever, a module that another thread was importing stays half made, and what belongs to native threads or to a
connection is still the parent's.
"""

# Imported before the hooks below are registered, since it has hooks of its own, and `logging` with it: they take locks
# after ours then, and never come into being while a fork waits, which would give back locks that it has not taken.
import concurrent.futures.thread  # noqa: F401
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, TypeVar

WAIT = 2.0  # seconds that a fork waits at most for other threads to leave what they hold
LOOK = 0.001  # seconds between two looks whether they have

T = TypeVar("T")


class Lock(Protocol):
    """What the locks of `threading` have in common."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Watched:
    """One object, and what is done about it."""

    owner: "weakref.ref[Any]"
    in_child: Callable[[Any], object]
    locks: Callable[[Any], Iterable[Lock]]
    before: Callable[[Any, float], object]


class Forks:
    """The objects of this process that need care when it is forked; they live no longer because of that."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._numbers = itertools.count()
        self._held: dict[int, Sequence[Lock]] = {}  # by the thread that forks
        self._imports = Imports()
        self._pid = os.getpid()
        os.register_at_fork(
            before=self._before, after_in_parent=self._after_in_parent, after_in_child=self._after_in_child
        )

    def add(
        self,
        owner: object,
        in_child: Callable[[Any], object],
        locks: Callable[[Any], Iterable[Lock]],
        before: Callable[[Any, float], object],
    ) -> None:
        """See `watch`."""
        number = next(self._numbers)
        reference = weakref.ref(owner, lambda _: self._watched.pop(number, None))
        self._watched[number] = Watched(reference, in_child, locks, before)

    def notice(self) -> None:
        """Find out that this is a child of a fork that Python was not told of, as uWSGI's unless it is configured."""
        if self._pid != os.getpid():
            self._after_in_child()

    def _alive(self) -> list[tuple[Any, Watched]]:
        found = [(watched.owner(), watched) for watched in list(self._watched.values())]
        return [(owner, watched) for owner, watched in found if owner is not None]

    def _before(self) -> None:
        until = time.monotonic() + WAIT
        self._imports.await_others(until)
        alive = self._alive()
        locks = dict.fromkeys(lock for owner, watched in alive for lock in watched.locks(owner))
        self._held[threading.get_ident()] = hold(list(locks), until)
        for owner, watched in alive:
            watched.before(owner, until)

    def _after_in_parent(self) -> None:
        for lock in self._held.pop(threading.get_ident(), ()):
            lock.release()

    def _after_in_child(self) -> None:
        self._pid = os.getpid()
        self._held = {}
        with ExitStack() as each:  # one that raises does not keep back the others
            for owner, watched in self._alive():
                each.callback(watched.in_child, owner)


class Imports:
    """The modules that other threads are importing."""

    def __init__(self) -> None:
        self._endless: frozenset[str] = frozenset()

    def await_others(self, until: float) -> None:
        """Wait until they are made. A program that never leaves an import, as a script's own, is waited for once."""
        while (found := self._of_others() - self._endless) and time.monotonic() < until:
            time.sleep(LOOK)
        self._endless |= found

    def _of_others(self) -> frozenset[str]:
        begun = [name for name, module in list(sys.modules.items()) if _is_begun(module)]
        return frozenset(begun) - _imported_here() if begun else frozenset()


def watch(
    owner: T,
    *,
    in_child: Callable[[T], object],
    locks: Callable[[T], Iterable[Lock]] = lambda _: (),
    before: Callable[[T, float], object] = lambda owner, until: None,
) -> None:
    """Take care of an object whenever this process is forked, as long as the object lives.

    Args:
        in_child: called in the child before anything else runs there. It makes new locks, and lets go of what belongs
            to the parent (see `immortal.keep_for_ever`); it must not import anything, nor wait.
        locks: what no other thread may hold at that moment, so that what they guard is whole in the child. A fork
            waits for all of them, two seconds at most.
        before: called in the parent when these locks are held, with the time on the monotonic clock until which it
            may wait.
    """
    _forks.add(owner, in_child, locks, before)


def hold(locks: Sequence[Lock], until: float) -> list[Lock]:
    """Take all locks; in time, or those that are free then.

    Only the first one is waited for, and nothing is held meanwhile, so that no other thread waits for us that has it.
    Where a further one is taken, all are let go of, and that one is the first.
    """
    order = list(locks)
    while order and order[0].acquire(timeout=max(0.0, until - time.monotonic())):
        held = [order[0], *itertools.takewhile(lambda lock: lock.acquire(blocking=False), order[1:])]
        if len(held) == len(order):
            return held
        for lock in held:
            lock.release()
        order.insert(0, order.pop(len(held)))
    return [lock for lock in order if lock.acquire(blocking=False)]


def _is_begun(module: object) -> bool:
    # Asked of plain modules only: others may be imported by being asked.
    return type(module) is ModuleType and getattr(module.__dict__.get("__spec__"), "_initializing", False)


def _imported_here() -> frozenset[str]:
    """The modules that this very thread is importing."""
    names, frame = set(), sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            names.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back  # type: ignore[assignment]  # None at the top
    return frozenset(names)


# The hooks of a process can't be taken back, so that there is one registry, made when this is imported.
_forks = Forks()
notice_fork = _forks.notice
