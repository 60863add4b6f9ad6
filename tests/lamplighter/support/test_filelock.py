"""A lock in a file, and the processes that are forked while it is held."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lamplighter.support.filelock import FileLock
from tests.harness import ROOT
from tests.programs import run


def test_another_waits_until_it_is_given_back(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "new" / "lock"), FileLock(tmp_path / "new" / "lock")
    told: list[str] = []

    def wait() -> None:
        with other.held():
            told.append("other")

    thread = threading.Thread(target=wait)
    with lock.held():
        thread.start()
        with pytest.raises(TimeoutError), other.held(wait=0.1):
            pass
        told.append("first")
    thread.join(10)

    assert told == ["first", "other"]


def test_a_child_does_not_keep_a_lock_that_its_parent_gives_back(tmp_path: Path) -> None:
    said = run(
        """
from pathlib import Path
from lamplighter.support.filelock import FileLock

lock = FileLock(Path(sys.argv[1]))
stay = os.pipe()
with lock.held():
    child = os.fork()
    if child == 0:
        os.close(stay[1])
        os.read(stay[0], 1)
        os._exit(0)
with lock.held(wait=1):
    print("free")
os.close(stay[1])
print(outcome(child))
""",
        tmp_path / "lock",
    )

    assert said == "free\n0\n"


def test_a_child_that_leaves_the_block_gives_back_nothing_of_its_parents(tmp_path: Path) -> None:
    said = run(
        """
from pathlib import Path
from lamplighter.support.filelock import FileLock

lock, other = FileLock(Path(sys.argv[1])), FileLock(Path(sys.argv[1]))
with lock.held():
    child = os.fork()
    if child:
        print(outcome(child))
        try:
            with other.held(wait=0.1):
                print("taken")
        except TimeoutError:
            print("held")
""",
        tmp_path / "lock",
    )

    assert said == "0\nheld\n"


def test_a_lock_of_a_parent_that_was_killed_is_free_though_its_child_lives(tmp_path: Path) -> None:
    program = """
import os, signal, sys, time
from pathlib import Path
from lamplighter.support.filelock import FileLock

with FileLock(Path(sys.argv[1])).held():
    if os.fork() == 0:
        print("ready", flush=True)
        sys.stdin.read()
        os._exit(0)
    time.sleep(60)
"""
    lock = tmp_path / "lock"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(lock)],
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdout.readline()

    parent.kill()
    parent.wait(10)

    with FileLock(lock).held(wait=5):
        parent.stdin.close()  # the child ends now
    assert parent.stdout.read() == ""
    parent.stdout.close()
