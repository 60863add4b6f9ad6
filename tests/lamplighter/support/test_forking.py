"""What a fork waits for, and what a child begins anew."""

import gc
import threading
import time
import weakref
from pathlib import Path

import pytest

from lamplighter.support.forking import hold, watch
from tests.programs import run


class Kept:
    """Something with a lock."""


def test_a_fork_waits_for_what_another_thread_is_in_the_middle_of() -> None:
    said = run(
        """
from lamplighter.support.forking import watch

class Account:
    def __init__(self):
        self.lock, self.left, self.right = threading.Lock(), 0, 0
        watch(self, in_child=Account.renew, locks=lambda account: (account.lock,))
    def renew(self):
        self.lock = threading.Lock()
    def move(self):
        with self.lock:
            self.left += 1
            inside.set()
            time.sleep(0.3)
            self.right += 1

inside, account = threading.Event(), Account()
threading.Thread(target=account.move).start()
inside.wait()
child = os.fork()
if child == 0:
    os._exit(0 if account.lock.acquire(timeout=1) and (account.left, account.right) == (1, 1) else 1)
print(outcome(child), account.lock.locked())
"""
    )

    assert said == "0 False\n"


def test_a_fork_does_not_wait_for_ever() -> None:
    said = run(
        """
from lamplighter.support import forking

forking.WAIT = 0.3

class Stuck:
    def __init__(self):
        self.lock = threading.Lock()
        forking.watch(self, in_child=Stuck.renew, locks=lambda stuck: (stuck.lock,))
    def renew(self):
        self.lock = threading.Lock()

stuck = Stuck()
taken = threading.Event()
threading.Thread(target=lambda: (stuck.lock.acquire(), taken.set(), time.sleep(60)), daemon=True).start()
taken.wait()
began = time.monotonic()
child = os.fork()
if child == 0:
    os._exit(0 if stuck.lock.acquire(timeout=1) else 1)
print(0.2 < time.monotonic() - began < 2, outcome(child))
"""
    )

    assert said == "True 0\n"


def test_two_locks_are_taken_though_each_is_held_by_one_who_waits_for_the_other() -> None:
    first, second = threading.Lock(), threading.Lock()
    has_second = threading.Event()

    def other() -> None:
        with second:
            has_second.set()
            time.sleep(0.05)  # the first one is held meanwhile, where all are taken in their order
            with first:
                pass

    thread = threading.Thread(target=other)
    thread.start()
    has_second.wait()
    began = time.monotonic()
    held = hold([first, second], until=began + 10)
    took = time.monotonic() - began
    for lock in held:
        lock.release()
    thread.join()

    assert (len(held), took < 5) == (2, True)


def test_what_is_free_is_held_when_the_time_is_over() -> None:
    first, second, third = threading.Lock(), threading.Lock(), threading.Lock()

    with second:
        held = hold([first, second, third], until=time.monotonic() + 0.05)

    assert held == [first, third]


def test_a_module_that_another_thread_is_importing_is_whole_in_the_child(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("begun.set()\nimport time\ntime.sleep(0.5)\ndone = 1\n")

    said = run(
        """
import builtins
from lamplighter.support import forking

sys.path.insert(0, sys.argv[1])
builtins.begun = threading.Event()
threading.Thread(target=lambda: __import__("slow")).start()
begun.wait()
child = os.fork()
if child == 0:
    import slow
    os._exit(0 if slow.done else 1)
print(outcome(child))
""",
        tmp_path,
    )

    assert said == "0\n"


def test_an_import_without_an_end_is_waited_for_once(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("begun.set()\nimport time\ntime.sleep(60)\n")

    said = run(
        """
import builtins
from lamplighter.support import forking

sys.path.insert(0, sys.argv[1])
builtins.begun = threading.Event()
threading.Thread(target=lambda: __import__("endless"), daemon=True).start()
begun.wait()
forking.WAIT = 0.5
for _ in range(2):
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os._exit(0)
    print(time.monotonic() - began > 0.4, outcome(child))
""",
        tmp_path,
    )

    assert said == "True 0\nFalse 0\n"


def test_a_thread_does_not_wait_for_its_own_import(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(
        "import os, time\n"
        "began = time.monotonic()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0)\n"
        "took = time.monotonic() - began\n"
    )

    said = run(
        "from lamplighter.support import forking\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import forks\n"
        "print(outcome(forks.child), forks.took < 1)",
        tmp_path,
    )

    assert said == "0 True\n"


def test_one_that_raises_does_not_keep_back_the_others() -> None:
    said = run(
        """
from lamplighter.support.forking import watch

class Thing:
    is_new = False
    def renew(self):
        self.is_new = True
    def fail(self):
        raise RuntimeError("boom")

things = [Thing(), Thing(), Thing()]
for thing, in_child in zip(things, (Thing.renew, Thing.fail, Thing.renew)):
    watch(thing, in_child=in_child)
child = os.fork()
if child == 0:
    os._exit(sum(thing.is_new for thing in things))
print(outcome(child))
"""
    )

    assert said == "2\n"


def test_a_child_of_a_child_begins_anew_as_well() -> None:
    said = run(
        """
from lamplighter.support.forking import watch

class Counter:
    times = 0
    def count(self):
        self.times += 1

counter = Counter()
watch(counter, in_child=Counter.count)
child = os.fork()
if child == 0:
    grandchild = os.fork()
    os._exit(counter.times if grandchild == 0 else counter.times * 10 + outcome(grandchild))
print(outcome(child), counter.times)
"""
    )

    assert said == "12 0\n"


def test_a_fork_that_python_was_not_told_of_is_noticed() -> None:
    """As uWSGI forks its workers, unless it has `py-call-osafterfork`."""
    said = run(
        """
import ctypes
from lamplighter.support.forking import notice_fork, watch

class Thing:
    times = 0
    def renew(self):
        self.times += 1

thing = Thing()
watch(thing, in_child=Thing.renew)
child = ctypes.PyDLL(None).fork()
if child == 0:
    before = thing.times
    notice_fork()
    notice_fork()
    os._exit(before * 10 + thing.times)
notice_fork()
print(outcome(child), thing.times)
"""
    )

    assert said == "1 0\n"


def test_what_is_watched_lives_no_longer_for_it() -> None:
    kept = Kept()
    watch(kept, in_child=lambda kept: None)
    reference = weakref.ref(kept)

    del kept
    gc.collect()

    assert reference() is None


@pytest.mark.parametrize(("keep", "freed"), [("keep_for_ever(thing)", ""), ("", "freed\n")])
def test_what_is_kept_for_ever_is_not_freed_at_the_end_of_the_interpreter(keep: str, freed: str) -> None:
    said = run(
        f"""
from lamplighter.support.immortal import keep_for_ever

class Loud:
    def __del__(self):
        print("freed", flush=True)

thing = Loud()
{keep}
"""
    )

    assert said == freed
