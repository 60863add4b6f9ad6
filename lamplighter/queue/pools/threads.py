"""Slots that are threads: for jobs that wait for others most of their time."""

import threading
from queue import SimpleQueue

from lamplighter.errors import QueueError
from lamplighter.logging.context import job_context
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.pools.pool import Ended
from lamplighter.queue.worker.runner import Runner, Start


class ThreadPool:
    """A fixed number of threads that take starts from one queue."""

    def __init__(self, runner: Runner, slots: int) -> None:
        self.failure: BaseException | None = None
        self.is_ready = True
        self.spare = 0.0
        self._runner = runner
        self._slots = slots
        self._inbox: SimpleQueue[Start | None] = SimpleQueue()
        self._threads: dict[Start, int] = {}

    def open(self, ended: Ended) -> None:
        """Start the threads; they end with the process, whatever runs in them."""
        wanted, self._slots = self._slots, 0
        for number in range(wanted):
            name = f"lamplighter-slot-{number}"
            try:
                threading.Thread(target=self._work, args=(ended,), name=name, daemon=True).start()
            except RuntimeError as error:  # a limit of the container or of the user
                raise QueueError(
                    f"Of {wanted} threads {number} could be started: {error}. Take a lower --concurrency, or raise the "
                    f"limit of threads (ulimit -u, or pids_limit of the container)."
                ) from error
            self._slots += 1

    def submit(self, start: Start) -> None:
        """Run this one in the next free thread."""
        self._inbox.put(start)

    def overrun(self, start: Start) -> bool:
        """A thread can't be ended alone."""
        return False

    def has_ended(self, start: Start) -> bool:
        """The worker's own thread records failures."""
        return False

    def stack_of(self, start: Start) -> int | None:
        """The identifier of the thread that a job runs in."""
        return self._threads.get(start)

    def close(self) -> None:
        """Let the threads that wait end."""
        for _ in range(self._slots):
            self._inbox.put(None)

    def _work(self, ended: Ended) -> None:
        while (start := self._inbox.get()) is not None:
            run_here(start, self._runner, self._threads, ended)


def run_here(start: Start, runner: Runner, threads: dict[Start, int], ended: Ended) -> None:
    """Run a job in the thread at hand, which is among `threads` meanwhile, and tell how it has ended."""
    threads[start] = threading.get_ident()
    job_context.set(start)
    error: BaseException | None = None
    try:
        runner.run(start)
    except BaseException as raised:
        error = tellable(raised)
    job_context.set(None)
    del threads[start]
    ended(start, error)
    del error  # the frames of its traceback hold it: without this only the garbage collector frees them
