"""Locks on files, between processes and threads."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.lock import is_held, locked
from lamplighter.kafka.embedded.pushes import LargePushes

FORK = """
import os, sys, time
from pathlib import Path
from lamplighter.kafka.embedded.lock import locked

path = Path(sys.argv[1])
ready, done = os.pipe(), os.pipe()
with locked(path, wait=1):
    child = os.fork()
    if child == 0:
        os.close(done[1])
        os.read(done[0], 1)  # until the parent ends
        os._exit(0)
with locked(path, wait=1):
    print("free", flush=True)
"""


def test_only_one_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with locked(path, wait=1):
        held = is_held(path)
        with pytest.raises(BrokerUnavailable, match=r"has held the lock .*lock of the embedded broker for 0\.05 s"):
            locked(path, wait=0.05).__enter__()

    assert (held, is_held(path)) == (True, False)


def test_a_lock_that_was_deleted_meanwhile_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with locked(path, wait=1):
        path.unlink()
        with locked(path, wait=1):
            others = is_held(path)

    assert others


def test_a_child_that_was_forked_meanwhile_does_not_keep_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, tmp_path / "lock"], capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout) == (0, "free\n"), done.stderr


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208  # what is open now

    for _ in range(20):
        with locked(path, wait=1):
            is_held(path)

    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


def test_a_push_waits_a_bounded_time_for_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.kafka.embedded.pushes.LOCK_WAIT", 0.1)
    began = time.monotonic()

    with (
        LargePushes(tmp_path).alone(),
        pytest.raises(BrokerUnavailable, match=r"embedded-pushes\.lock"),
        LargePushes(tmp_path).alone(),
    ):
        pass

    assert time.monotonic() - began < 5


def test_a_folder_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BrokerUnavailable, match="can't be used in"), LargePushes(tmp_path / "file" / "folder").alone():
        pass
