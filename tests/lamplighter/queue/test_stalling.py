"""What is done about a worker that stands still."""

from dataclasses import dataclass

from lamplighter.queue.events import WorkerStalled
from lamplighter.queue.options import StopReason, WorkerOptions
from lamplighter.queue.stalling import Stalling
from tests.harness import wait_for
from tests.lamplighter.queue.conftest import Bench, ListQueue


@dataclass
class Still(ListQueue):
    """A connection in which nothing goes on."""

    def stall(self, *, is_busy: bool) -> str | None:
        """What is seen."""
        return None if is_busy else "lag 5"


def test_a_worker_that_stands_still_is_told_of_once_and_asked_to_stop(bench: Bench) -> None:
    heard: list[WorkerStalled] = []
    bench.events.listen(WorkerStalled, heard.append)
    bench.queue = Still()
    worker = bench.worker()
    look = Stalling(worker, bench.queue, bench.events, WorkerOptions(queues=("jobs",)))

    look()
    look()
    wait_for(lambda: heard)

    assert heard == [WorkerStalled("list", ("jobs",), "lag 5")]
    assert worker.work() == StopReason.STALLED.exit_code
