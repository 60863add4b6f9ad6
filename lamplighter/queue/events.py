"""What happens to jobs and workers; listeners are named by these classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamplighter.queue.runner import Start


@dataclass(slots=True)
class WorkerStarting:
    """A worker is about to take its first job."""

    connection: str
    queues: tuple[str, ...]


@dataclass(slots=True)
class WorkerStopping:
    """A worker has taken its last job; `reason` is the value of a StopReason."""

    status: int
    reason: str
    jobs_processed: int


@dataclass(slots=True)
class WorkerIdle:
    """A worker found nothing to do."""

    connection: str
    queues: tuple[str, ...]


@dataclass(slots=True)
class JobProcessing:
    """A job is about to be handled."""

    start: "Start"


@dataclass(slots=True)
class JobProcessed:
    """A handler came to its end without an exception, after `duration` seconds."""

    start: "Start"
    duration: float


@dataclass(slots=True)
class JobReleased:
    """A job will run again in `delay` seconds: after an exception, or as its handler asked (`error` is None)."""

    start: "Start"
    duration: float
    delay: float
    error: BaseException | None


@dataclass(slots=True)
class JobFailed:
    """A job is among the failed jobs."""

    start: "Start"
    duration: float
    error: BaseException


@dataclass(slots=True)
class JobTimedOut:
    """A job ran longer than its timeout; its worker is about to end."""

    start: "Start"
    timeout: float


@dataclass(slots=True)
class QueueBusy:
    """`queue:monitor` has found as many jobs as it was told not to let pass, or more."""

    connection: str
    queue: str
    size: int


@dataclass(slots=True)
class JobQueued:
    """A message was pushed and is safe."""

    connection: str
    queue: str
    id: str
    payload: bytes
