"""What bounds the end of a process, where a job has closed its stderr, or left it no memory for a thread."""

import time

import pytest

from tests.programs import run

TIMER = """
import os, sys, time
from lamplighter.queue.guard.timers import arm

sys.stderr.close()
{close}
assert arm(0.2)
print("armed", flush=True)
time.sleep(30)
"""
NO_THREAD = """
import logging, os, resource
from lamplighter.queue.guard.ending import bounded, leave, within

with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**21, size + 2**21))  # the stack of a thread takes 8 MB
with bounded(5):
    print("without a bound", flush=True)
print("ran:", within(5, lambda: None), flush=True)
leave(3)
"""


@pytest.mark.parametrize("close", ["", "sys.__stderr__ = None", "os.close(2)"], ids=["object", "none", "descriptor"])
def test_a_process_whose_stderr_a_job_has_closed_is_ended_all_the_same(close: str) -> None:
    began = time.monotonic()

    with pytest.raises(AssertionError, match=r"ended with 1\narmed"):
        run(TIMER.format(close=close))

    assert time.monotonic() - began < 20


def test_a_process_without_memory_for_a_thread_ends() -> None:
    with pytest.raises(AssertionError, match=r"ended with 3\nwithout a bound\nran: False"):
        run(NO_THREAD)
