"""Signals of a worker, and of the processes that its jobs fork. Real workers are signalled in tests/kafka."""

import os
import signal
import threading
import time
from dataclasses import dataclass

import pytest

from lamplighter.queue.guard.control import StopReason
from lamplighter.queue.guard.signals import handled
from lamplighter.queue.jobs.job import Job
from tests.harness import wait_for
from tests.lamplighter.queue.conftest import Bench


def test_a_signal_is_seen_once_by_whoever_looks_first(bench: Bench) -> None:
    worker = bench.worker(stop_when_empty=False, grace=30)

    with handled(worker.control) as look:
        os.kill(os.getpid(), signal.SIGTERM)
        limit = worker.control.limit
        look()

    assert worker.control.limit == limit < time.monotonic() + 30
    assert worker.work() == 0


@dataclass(frozen=True)
class Deaf(Job):
    """Lets its process hear of no TERM."""

    name = "deaf"

    left: int = 0

    def handle(self) -> None:
        """Leave another handler behind."""
        signal.signal(signal.SIGTERM, signal.Handlers(self.left))
        signal.set_wakeup_fd(-1)


@pytest.mark.parametrize("left", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_worker_hears_of_signals_after_a_job_that_has_left_other_handlers(
    bench: Bench, left: signal.Handlers, caplog: pytest.LogCaptureFixture
) -> None:
    worker = bench.worker(Deaf, stop_when_empty=False, sleep=30)
    bench.queue.add("deaf", {"left": int(left)})

    def end() -> None:
        try:
            wait_for(lambda: signal.getsignal(signal.SIGTERM) is left)
            look()
            wait_for(lambda: signal.getsignal(signal.SIGTERM) is not left, seconds=5)
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            worker.control.ask_to_stop(StopReason.RESTART_SIGNAL)

    with handled(worker.control) as look:
        thread = threading.Thread(target=end)
        thread.start()
        status = worker.work()
        thread.join()

    assert status == 0
    assert StopReason.INTERRUPTED in worker.control.asked
    assert [vars(record)["signals"] for record in caplog.records if "handlers" in record.message] == ["SIGTERM"]


def test_a_child_that_a_job_forks_can_be_terminated_and_its_signals_are_its_own(bench: Bench) -> None:
    worker = bench.worker(grace=30)

    with handled(worker.control) as look:
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tells, b"ready")
            time.sleep(20)
            os._exit(0)
        os.read(hears, 5)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        look()
    os.close(hears)
    os.close(tells)

    assert os.WTERMSIG(status) == signal.SIGTERM
    assert worker.control.limit == float("inf")


def test_a_signal_that_reaches_a_child_at_once_ends_it_and_not_the_worker(bench: Bench) -> None:
    worker = bench.worker(grace=30)
    has_been_told = os.pipe()
    slow = [True]
    # Whatever else is done in a child may come first.
    os.register_at_fork(after_in_child=lambda: os.read(has_been_told[0], 1) if slow else None)

    with handled(worker.control) as look:
        child = os.fork()
        if child == 0:
            time.sleep(20)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        os.write(has_been_told[1], b"!")
        _, status = os.waitpid(child, 0)
        look()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    slow.clear()
    for end in has_been_told:
        os.close(end)

    assert os.WTERMSIG(status) == signal.SIGTERM
    assert worker.control.limit == float("inf")
    assert signal.SIGTERM not in mask
