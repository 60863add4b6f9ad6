"""What a worker was asked to do."""

from dataclasses import dataclass, field
from enum import StrEnum

from lamplighter.queue.jobs.retries import Policy


class PoolKind(StrEnum):
    """Where jobs run."""

    SOLO = "solo"
    PROCESS = "process"
    THREAD = "thread"
    ASYNC = "async"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of `queue:work`; times are seconds, 0 switches a limit off.

    Attributes:
        defaults: tries, backoff and timeout of jobs that do not set their own.
        sleep: the longest wait for a job; an arrival ends it.
        rest: the pause after each job.
        memory: resident megabytes at which the worker stops.
        grace: seconds that a job in hand still has after a signal; None leaves it its own timeout.
        shutdown: seconds for committing and leaving, from the end of the last job.
        pool: where jobs run: in the worker itself (solo), or beside each other in processes, threads or one loop.
        concurrency: how many jobs are in hand at most.
        max_jobs_per_slot, max_memory_per_slot: when a process slot is renewed, by its jobs or its megabytes.
    """

    queues: tuple[str, ...]
    defaults: Policy = field(default_factory=lambda: Policy(tries=1, backoff=(), timeout=60))
    name: str = "default"
    once: bool = False
    stop_when_empty: bool = False
    stop_when_empty_for: float = 0
    max_jobs: int = 0
    max_time: float = 0
    memory: int = 128
    sleep: float = 3
    rest: float = 0
    force: bool = False
    grace: float | None = None
    shutdown: float = 30
    pool: str = "solo"
    concurrency: int = 1
    max_jobs_per_slot: int = 0
    max_memory_per_slot: int = 0

    @property
    def slots(self) -> int:
        """How many jobs are in hand at most, of those that it may run at all."""
        return min(self.concurrency, 1 if self.once else self.max_jobs or self.concurrency)
