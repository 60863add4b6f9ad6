"""The store in memory under workers that do anything in any order: the rules of the run hold where nothing breaks."""

from lamplighter.queue.drivers.memory import MemoryStore
from tests.lamplighter.queue.drivers.leasing.fuzz import LEASE, Fuzz


def test_each_job_runs_until_it_is_done_and_each_start_is_counted_once() -> None:
    store = MemoryStore(seconds=LEASE)

    Fuzz(lambda line: store).run()
