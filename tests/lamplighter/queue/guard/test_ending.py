"""The one deadline of a worker's process. Real workers that hang are looked at in tests/faults."""

import time

import pytest

from lamplighter.queue.guard.control import NEVER, Control, StopReason
from lamplighter.queue.guard.ending import Deadline
from tests.programs import run

LEAVES = """
import threading
from lamplighter.queue.guard.ending import leave

{left}
print("done")
leave(3, seconds=0.5)
"""


def busy_for(seconds: float) -> Deadline:
    """The deadline of a worker whose jobs in hand have so many seconds left, and which was told to stop."""
    control = Control(grace=1)
    control.ask_to_stop(StopReason.RESTART_SIGNAL)
    return Deadline(control, lambda now: now + seconds, 5)


def test_a_worker_that_nobody_has_told_to_stop_has_no_deadline() -> None:
    deadline = Deadline(Control(), lambda now: now, 5)

    assert deadline.at() == deadline.settle_by() == NEVER


def test_the_jobs_in_hand_have_their_time_before_the_shutdown_begins() -> None:
    assert busy_for(10).left() == pytest.approx(15, abs=0.5)


def test_the_deadline_stays_where_it_is_when_the_jobs_in_hand_take_longer() -> None:
    seconds = [10.0]
    control = Control()
    control.ask_to_stop(StopReason.MEMORY)
    deadline = Deadline(control, lambda now: now + seconds[0], 5)
    before = deadline.at()

    seconds[0] = 100

    assert deadline.at() == before


def test_a_grace_period_brings_the_deadline_forward() -> None:
    control = Control(grace=1)
    control.ask_to_stop(StopReason.RESTART_SIGNAL)
    deadline = Deadline(control, lambda now: now + 10, 5)
    before = deadline.left()

    control.ask_to_stop(StopReason.INTERRUPTED)

    assert [before, deadline.left()] == pytest.approx([15, 6], abs=0.5)


def test_there_is_no_deadline_before_a_job_without_a_timeout_has_ended() -> None:
    ends = [NEVER]
    control = Control()
    control.ask_to_stop(StopReason.RESTART_SIGNAL)
    deadline = Deadline(control, lambda now: max(now, ends[0]), 5)
    before = deadline.at()

    ends[0] = 0

    assert before == NEVER
    assert deadline.left() == pytest.approx(5, abs=0.5)


def test_nobody_waits_for_the_jobs_of_a_worker_that_stands_still() -> None:
    control = Control()
    control.ask_to_stop(StopReason.STALLED)

    assert Deadline(control, lambda now: now + 100, 5).left() == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(
    "left",
    [
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor(1).submit(time.sleep, 60)",
        "import multiprocessing; multiprocessing.get_context('fork').Process(target=time.sleep, args=(2,)).start()",
        "import atexit; atexit.register(time.sleep, 60)",
    ],
    ids=["a thread", "an executor", "a child", "an exit hook"],
)
def test_a_process_leaves_what_a_job_has_left_behind(left: str) -> None:
    began = time.monotonic()

    with pytest.raises(AssertionError, match=r"ended with 3\ndone"):
        run(LEAVES.format(left=left))

    assert time.monotonic() - began < 20


def test_exit_hooks_run_at_the_end_of_a_process_that_leaves() -> None:
    with pytest.raises(AssertionError, match=r"ended with 3\ndone\nhooked"):
        run(LEAVES.format(left="import atexit; atexit.register(print, 'hooked')"))
